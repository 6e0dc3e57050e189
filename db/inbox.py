"""The inbox: commands accepted, claimed, shown, changed; one statement for one or a thousand."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from psycopg.rows import class_row
from pydantic_core import to_json

from db.session import Connection, array_of
from schemas.command import CommandState
from schemas.facts import ClaimedCommand

# Accept commands.
INSERT = """
INSERT INTO publisher.publish_command
    (id, video_id, workspace_id, trigger, edits, edits_bytes, publish_before, correlation_id,
     traceparent)
SELECT id, video_id, workspace_id, trigger, edits, coalesce(octet_length(edits::text), 0),
       coalesce(publish_before, now() + %(patience)s), correlation_id, traceparent
FROM jsonb_to_recordset(%(commands)s::jsonb) AS (
    id uuid, video_id bigint, workspace_id bigint, trigger text, edits jsonb,
    publish_before timestamptz, correlation_id text, traceparent text
)
"""

_CLAIM = """
WITH due AS (
    SELECT id, video_id, workspace_id, state, trigger, edits, accepted_at, due_at, publish_before,
           checks, attempts, correlation_id, traceparent, edits_bytes
    FROM publisher.publish_command
    WHERE state IN ('scheduled', 'waiting') AND {which}
    ORDER BY due_at, id
    LIMIT %(limit)s
    FOR UPDATE SKIP LOCKED
),
sized AS (
    SELECT due.*, sum(edits_bytes) OVER (ORDER BY due_at, id) - edits_bytes AS bytes_before FROM due
),
held AS (
    SELECT v.id FROM video v
    WHERE v.id IN (SELECT video_id FROM sized WHERE bytes_before < %(bytes)s)
    FOR NO KEY UPDATE SKIP LOCKED
)
SELECT id, video_id, workspace_id, state, trigger, edits, accepted_at, due_at, publish_before,
       checks, attempts, correlation_id, traceparent,
       video_id IN (SELECT id FROM held) AS video_held,
       EXISTS (SELECT FROM video v WHERE v.id = sized.video_id) AS video_exists,
       clock_timestamp() AS now
FROM sized
WHERE bytes_before < %(bytes)s
ORDER BY due_at, id
"""

# Take the commands that are due, oldest first, and hold their videos' rows.
CLAIM_DUE = _CLAIM.format(which="due_at <= now()")

# Take these commands again, after their batch failed.
CLAIM_THESE = _CLAIM.format(which="id = ANY(%(ids)s::uuid[])")

# Take one command that has not ended, waiting for whoever holds it.
HOLD = """
SELECT id, video_id, workspace_id, state, trigger, edits, accepted_at, due_at, publish_before,
       checks, attempts, correlation_id, traceparent, true AS video_held, true AS video_exists,
       clock_timestamp() AS now
FROM publisher.publish_command
WHERE id = %(id)s AND state IN ('scheduled', 'waiting')
FOR UPDATE
"""

_COLUMNS = """id, video_id, workspace_id, state, reason, detail, trigger, edits, accepted_at,
       due_at, publish_before, attempts, finished_at, correlation_id"""

# Commands by id, as far as the caller's workspace goes.
SHOW = f"""
SELECT {_COLUMNS} FROM publisher.publish_command
WHERE id = ANY(%(ids)s::uuid[])
  AND (%(workspace_id)s::bigint IS NULL OR workspace_id = %(workspace_id)s)
ORDER BY id
"""

# A page of commands, newest first, before a given id.
LIST = f"""
SELECT {_COLUMNS} FROM publisher.publish_command
WHERE (%(workspace_id)s::bigint IS NULL OR workspace_id = %(workspace_id)s)
  AND (%(video_id)s::bigint IS NULL OR video_id = %(video_id)s)
  AND (%(state)s::text IS NULL OR state = %(state)s)
  AND (%(before)s::uuid IS NULL OR id < %(before)s)
ORDER BY id DESC
LIMIT %(limit)s
"""

# Which of these commands have ended.
FINISHED = """
SELECT id FROM publisher.publish_command
WHERE id = ANY(%(ids)s::uuid[]) AND finished_at IS NOT NULL
"""

# Change the latest moment of a command that has not ended, and ask it again at once.
RESCHEDULE = """
UPDATE publisher.publish_command SET publish_before = %(publish_before)s, due_at = now()
WHERE id = %(id)s AND state IN ('scheduled', 'waiting')
"""

# Give a failed command a new set of attempts.
RETRY = """
UPDATE publisher.publish_command SET
    state = 'scheduled', reason = NULL, detail = NULL, attempts = 0, checks = 0,
    finished_at = NULL, due_at = now(),
    publish_before = greatest(publish_before, now() + %(patience)s)
WHERE id = %(id)s AND state = 'failed'
"""

# How many commands are in each state, and how old the oldest due one is.
COUNT = """
SELECT state, count(*), count(*) FILTER (WHERE due_at <= now()),
       extract(epoch FROM now() - min(due_at) FILTER (WHERE due_at <= now()))
FROM publisher.publish_command GROUP BY state
"""

# Forget commands that ended long ago, a bounded number at a time.
PRUNE = """
DELETE FROM publisher.publish_command WHERE id IN (
    SELECT id FROM publisher.publish_command
    WHERE finished_at < now() - %(age)s LIMIT %(limit)s
)
"""

# Keep a message that made no sense, for a person to look at.
SET_ASIDE = "INSERT INTO publisher.set_aside_message (body, error) VALUES (%(body)s, %(error)s)"

# How many of them nobody has looked at and deleted.
COUNT_SET_ASIDE = "SELECT count(*) FROM publisher.set_aside_message"

MAX_BYTES = 4 * 1024 * 1024
"""Of edits, that one claim takes; what a batch weighs, the worker and the server hold in memory."""

PATIENCE = timedelta(hours=24)
"""How long a command waits for its video unless the caller says otherwise."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NewCommand:
    """A command about to be accepted."""

    id: UUID
    video_id: int
    workspace_id: int
    trigger: str
    edits: dict[str, Any] | None
    publish_before: datetime | None
    correlation_id: str
    traceparent: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class CommandRow:
    """A command as it stands in the inbox."""

    id: UUID
    video_id: int
    workspace_id: int
    state: str
    reason: str | None
    detail: str | None
    trigger: str
    edits: dict[str, Any] | None
    accepted_at: datetime
    due_at: datetime
    publish_before: datetime
    attempts: int
    finished_at: datetime | None
    correlation_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class StateCount:
    """How many commands are in a state, how many of them are due, and for how many seconds."""

    state: CommandState
    count: int
    due: int
    oldest_due_seconds: float | None


def insert(tx: Connection, commands: Sequence[NewCommand]) -> None:
    """Accept commands in one statement."""
    tx.execute(INSERT, {"commands": to_json(commands).decode(), "patience": PATIENCE})


def claim_due(tx: Connection, limit: int) -> list[ClaimedCommand]:
    """Take up to `limit` due commands, oldest first; what others hold is passed over."""
    with tx.cursor(row_factory=class_row(ClaimedCommand), binary=True) as cursor:
        return cursor.execute(CLAIM_DUE, {"limit": limit, "bytes": MAX_BYTES}).fetchall()


def claim_these(tx: Connection, ids: Sequence[UUID]) -> list[ClaimedCommand]:
    """Take these commands, as far as they have not ended and nobody else holds them."""
    with tx.cursor(row_factory=class_row(ClaimedCommand), binary=True) as cursor:
        values = {"ids": array_of(ids), "limit": len(ids), "bytes": MAX_BYTES}
        return cursor.execute(CLAIM_THESE, values).fetchall()


def hold(tx: Connection, command_id: UUID) -> ClaimedCommand | None:
    """Take one command, waiting for whoever holds it; None if it has ended by then."""
    with tx.cursor(row_factory=class_row(ClaimedCommand), binary=True) as cursor:
        return cursor.execute(HOLD, {"id": command_id}).fetchone()


def show(tx: Connection, ids: Iterable[UUID], workspace_id: int | None) -> list[CommandRow]:
    """Read commands by id; what lies in another workspace does not exist."""
    with tx.cursor(row_factory=class_row(CommandRow)) as cursor:
        values = {"ids": array_of(ids), "workspace_id": workspace_id}
        return cursor.execute(SHOW, values).fetchall()


def page(
    tx: Connection,
    *,
    workspace_id: int | None,
    video_id: int | None,
    state: CommandState | None,
    before: UUID | None,
    limit: int,
) -> list[CommandRow]:
    """Read a page of commands, newest first."""
    values = {
        "workspace_id": workspace_id,
        "video_id": video_id,
        "state": state,
        "before": before,
        "limit": limit,
    }
    with tx.cursor(row_factory=class_row(CommandRow)) as cursor:
        return cursor.execute(LIST, values).fetchall()


def finished(tx: Connection, ids: Iterable[UUID]) -> set[UUID]:
    """Tell which of these commands have ended."""
    return {row[0] for row in tx.execute(FINISHED, {"ids": array_of(ids)})}


def reschedule(tx: Connection, command_id: UUID, publish_before: datetime) -> bool:
    """Change a command's latest moment; False if it has ended.

    Waits for a transaction that holds the command at this moment.
    """
    values = {"id": command_id, "publish_before": publish_before}
    return tx.execute(RESCHEDULE, values).rowcount == 1


def retry(tx: Connection, command_id: UUID) -> bool:
    """Give a failed command new attempts; False if it is not `failed`."""
    return tx.execute(RETRY, {"id": command_id, "patience": PATIENCE}).rowcount == 1


def count(tx: Connection) -> list[StateCount]:
    """Count the commands by state."""
    return [
        StateCount(
            state=CommandState(state),
            count=total,
            due=due if not CommandState(state).is_outcome else 0,
            oldest_due_seconds=float(age)
            if age is not None and not CommandState(state).is_outcome
            else None,
        )
        for state, total, due, age in tx.execute(COUNT)
    ]


def prune(tx: Connection, *, age: timedelta, limit: int) -> int:
    """Forget up to `limit` commands that ended more than `age` ago."""
    return tx.execute(PRUNE, {"age": age, "limit": limit}).rowcount


def set_aside(tx: Connection, *, body: str, error: str) -> None:
    """Keep a message that made no sense."""
    tx.execute(SET_ASIDE, {"body": body, "error": error})


def count_set_aside(tx: Connection) -> int:
    """Count the messages that were set aside."""
    row = tx.execute(COUNT_SET_ASIDE).fetchone()
    return row[0] if row else 0
