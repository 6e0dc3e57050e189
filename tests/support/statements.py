"""Count the SQL statements that psycopg sends: the only honest way to see a query per row."""

from collections.abc import Generator
from contextlib import contextmanager
from math import inf
from typing import Any
from unittest.mock import patch

import psycopg

from db.commands import claim
from worker.publish import run


@contextmanager
def never_slow() -> Generator[None]:
    """However slow the machine is, no statement is added because a claim or a batch was slow."""
    with (
        patch.object(claim, "DEAD_SECONDS", inf),
        patch.object(claim, "SLOW_SECONDS", inf),
        patch.object(run, "SLOW_SECONDS", inf),
    ):
        yield


@contextmanager
def counted() -> Generator[list[str]]:
    """Collect every statement that this process executes through a psycopg cursor.

    Without those that a slow machine adds.
    """
    statements: list[str] = []
    execute = psycopg.Cursor.execute

    def noting(self: Any, query: Any, *args: Any, **kwargs: Any) -> Any:
        statements.append(str(query))
        return execute(self, query, *args, **kwargs)

    with never_slow(), patch.object(psycopg.Cursor, "execute", noting):
        yield statements
