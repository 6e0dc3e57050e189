"""The failed attempts at commands in SQL: record them, read the last ones, prune them."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from psycopg.rows import class_row
from pydantic_core import to_json
from uuid_utils.compat import uuid7

from db.session import Connection, to_array
from schemas.values.decision import Decision

# Record a failed attempt at each of these commands.
INSERT = """
INSERT INTO publisher.command_attempt (id, command_id, attempt, error)
SELECT id, command_id, attempt, error
FROM json_to_recordset(%(attempts)s::json)
     AS each (id uuid, command_id uuid, attempt int, error text)
"""

# The last failed attempts at each of these commands.
READ_LAST = """
SELECT last.* FROM unnest(%(ids)s::uuid[]) AS command (id) CROSS JOIN LATERAL (
    SELECT command_id, attempt, failed_at, error, row_number() OVER (ORDER BY id DESC) AS nth_last
    FROM publisher.command_attempt
    WHERE command_id = command.id
    ORDER BY id DESC
    LIMIT %(limit)s
) last
"""

# Delete old attempts. Their ids follow time, so the oldest are found in the primary key.
PRUNE = """
DELETE FROM publisher.command_attempt WHERE id IN (
    SELECT id FROM (
        SELECT id, failed_at FROM publisher.command_attempt ORDER BY id LIMIT %(limit)s
    ) oldest
    WHERE failed_at < now() - %(age)s
)
"""

MAX_SHOWN = 10
"""How many of the last attempts at each command are shown: two rounds."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FailedAttempt:
    """A failed attempt at a command."""

    command_id: UUID
    attempt: int
    """1 for the first one. It begins at 1 again when a failed command is retried."""
    failed_at: datetime
    error: str
    nth_last: int
    """1 for the last one of its command."""


def insert(tx: Connection, decisions: Sequence[Decision], error: str) -> None:
    """Record that an attempt at each of these commands failed with this error."""
    attempts = [
        {
            "id": uuid7(),
            "command_id": decision.command_id,
            "attempt": decision.attempts,
            "error": error,
        }
        for decision in decisions
    ]
    tx.execute(INSERT, {"attempts": to_json(attempts).decode()})


def read_last(tx: Connection, command_ids: Sequence[UUID]) -> list[FailedAttempt]:
    """Read the last `MAX_SHOWN` failed attempts at each command, and one more if there are more."""
    values = {"ids": to_array(command_ids), "limit": MAX_SHOWN + 1}
    with tx.cursor(row_factory=class_row(FailedAttempt)) as cursor:
        return cursor.execute(READ_LAST, values).fetchall()


def prune(tx: Connection, *, age: timedelta, limit: int) -> int:
    """Delete up to `limit` attempts that failed more than `age` ago."""
    return tx.execute(PRUNE, {"age": age, "limit": limit}).rowcount
