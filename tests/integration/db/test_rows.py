"""Rows become values of a dataclass, by position: the columns must be its fields."""

from dataclasses import dataclass

import pytest
from sqlalchemy import Engine

from db.session import transaction
from publish_worker_client.rows import to_values


@dataclass
class Point:
    """Two coordinates and a name."""

    x: int
    y: int
    name: str = "none"


def read(engine: Engine, statement: str) -> list[Point]:
    """Run a statement whose rows are points."""
    with transaction(engine) as tx, tx.cursor(row_factory=to_values(Point)) as cursor:
        return cursor.execute(statement.encode()).fetchall()


def test_columns_become_the_fields_of_their_names(engine: Engine) -> None:
    assert read(engine, "SELECT 1 AS x, 2 AS y, 'home' AS name") == [Point(1, 2, "home")]


def test_a_field_with_a_default_may_be_missing_at_the_end(engine: Engine) -> None:
    assert read(engine, "SELECT 1 AS x, 2 AS y") == [Point(1, 2)]


@pytest.mark.parametrize(
    "columns", ["2 AS y, 1 AS x", "1 AS x, 2 AS z", "1 AS x, 2 AS y, '' AS name, 3 AS w"]
)
def test_other_columns_are_an_error(engine: Engine, columns: str) -> None:
    with pytest.raises(TypeError, match="Point has the fields"):
        read(engine, f"SELECT {columns}")


def test_other_columns_are_an_error_without_rows(engine: Engine) -> None:
    with pytest.raises(TypeError, match=r"fields \['x', 'y', 'name'\], the statement \['y', 'x'\]"):
        read(engine, "SELECT 2 AS y, 1 AS x WHERE false")
