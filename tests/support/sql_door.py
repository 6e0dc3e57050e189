"""The SQL door: calls of `publisher.enqueue_publish` by name, and what they were refused with."""

from typing import Any
from uuid import UUID

from psycopg import Error, sql

from db.session import Connection, transaction
from tests.support.pipeline import Pipeline

PUBLISH, UNPUBLISH = "enqueue_publish", "enqueue_unpublish"


def call(tx: Connection, video_id: int | None, function: str = PUBLISH, **arguments: Any) -> UUID:
    """Call the function, each argument by its name; return the command's id."""
    given = {"video_id": video_id, **arguments}
    statement = sql.SQL("SELECT publisher.{}({})").format(
        sql.Identifier(function),
        sql.SQL(", ").join(
            sql.SQL("{} => {}").format(sql.Identifier(name), sql.Placeholder(name))
            for name in given
        ),
    )
    row = tx.execute(statement, given).fetchone()
    assert row is not None
    return row[0]


def enqueue(
    pipeline: Pipeline, video_id: int | None, function: str = PUBLISH, **arguments: Any
) -> UUID:
    """The same in a transaction of its own."""
    with transaction(pipeline.engine) as tx:
        return call(tx, video_id, function, **arguments)


def find_refusal(
    tx: Connection, video_id: int | None, function: str = PUBLISH, **arguments: Any
) -> tuple[str, str]:
    """The state and the message that a call is refused with; empty: it is accepted.

    What it does is undone.
    """
    tx.execute("SAVEPOINT before")
    try:
        call(tx, video_id, function, **arguments)
    except Error as error:
        return error.sqlstate or "", str(error.diag.message_primary)
    else:
        return "", ""
    finally:
        tx.execute("ROLLBACK TO before")
