"""The inbox in SQL: insert, read, list, count and prune commands; the quarantine."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from psycopg import sql
from psycopg.rows import class_row, dict_row
from pydantic_core import to_json

from db.session import Answer, Connection, to_array
from schemas.command import CommandState
from schemas.inbox import CommandFilter, CommandOrder
from schemas.values.page import Page

# Insert commands, and return what the database has decided. A time in the past means now.
INSERT = """
INSERT INTO publisher.publish_command
    (id, action, video_id, workspace_id, trigger, edits, edits_bytes,
     asked_for, local_time, time_zone, fold, zone_digest, due_at, publish_before, patient_until,
     expected_revision, expected_etag, counterpart_id, correlation_id, traceparent, requested_by)
SELECT id, action, video_id, workspace_id, trigger, edits, coalesce(octet_length(edits::text), 0),
       asked_for, local_time, time_zone, fold, zone_digest,
       greatest(asked_for, now()), publish_before, greatest(asked_for, now()) + %(patience)s,
       expected_revision, expected_etag, counterpart_id, correlation_id, traceparent, requested_by
FROM jsonb_to_recordset(%(commands)s::jsonb) AS (
    id uuid, action text, video_id bigint, workspace_id bigint, trigger text, edits jsonb,
    asked_for timestamptz, local_time timestamp, time_zone text, fold smallint, zone_digest text,
    publish_before timestamptz, expected_revision int, expected_etag text, counterpart_id uuid,
    correlation_id text, traceparent text, requested_by uuid
)
RETURNING id, state, edits, accepted_at, due_at, due_at <= clock_timestamp(), attempts
"""

_COLUMNS = """id, action, video_id, workspace_id, state, reason, detail, trigger, edits,
       accepted_at, asked_for, local_time, time_zone, fold, publish_before, expected_revision,
       expected_etag, counterpart_id, due_at,
       finished_at IS NULL AND due_at <= clock_timestamp() AS is_due, fell_due_at, claimed_at,
       attempts, finished_at, correlation_id, requested_by"""

# Commands by id, in the caller's workspace.
SHOW = f"""
SELECT {_COLUMNS} FROM publisher.publish_command
WHERE id = ANY(%(ids)s::uuid[])
  AND (%(workspace_id)s::bigint IS NULL OR workspace_id = %(workspace_id)s)
ORDER BY id
"""

_WANTED = """trigger <> 'canary'
  AND (%(workspace_id)s::bigint IS NULL OR workspace_id = %(workspace_id)s)
  AND (%(video_id)s::bigint IS NULL OR video_id = %(video_id)s)
  AND (%(action)s::text IS NULL OR action = %(action)s)
  AND (%(due_from)s::timestamptz IS NULL OR due_at >= %(due_from)s)
  AND (%(due_until)s::timestamptz IS NULL OR due_at < %(due_until)s)"""

# The number of rows found, and those of them that begin within the first `max_bytes` of edits.
_PAGE = f"""
SELECT found, {_COLUMNS} FROM (
    SELECT row.*, count(*) OVER () AS found,
           sum(bytes) OVER (ORDER BY number ROWS UNBOUNDED PRECEDING) - bytes AS bytes_before
    FROM (
        SELECT page.*, row_number() OVER (ORDER BY %s) AS number,
               edits_bytes + coalesce(octet_length(detail), 0) AS bytes
        FROM page
    ) row
) counted
WHERE bytes_before < %%(max_bytes)s
ORDER BY number
"""

# A page of commands, the newest first, before a given one. The state is part of the text: an index
# has those that are rare.
LIST_NEWEST = sql.SQL(f"""
WITH page AS (
    SELECT {_COLUMNS}, edits_bytes FROM publisher.publish_command
    WHERE {_WANTED} AND {{of_state}}
      AND (%(before)s::uuid IS NULL OR id < %(before)s)
    ORDER BY id DESC
    LIMIT %(limit)s
) {_PAGE % "id DESC"}""")

# A page of commands, the earliest due time first, after a given one. For each workspace (found one
# by one in an index, if none is given) and state, the first ones are read from an index.
LIST_DUE = f"""
WITH RECURSIVE place (id) AS (
    SELECT coalesce(%(workspace_id)s::bigint,
                    (SELECT min(workspace_id) FROM publisher.publish_command))
    UNION ALL
    SELECT (SELECT min(workspace_id) FROM publisher.publish_command WHERE workspace_id > place.id)
    FROM place WHERE place.id IS NOT NULL AND %(workspace_id)s::bigint IS NULL
), page AS (
    SELECT command.* FROM place, unnest(%(states)s::text[]) AS wanted (wanted_state),
    LATERAL (
        SELECT {_COLUMNS}, edits_bytes FROM publisher.publish_command
        WHERE {_WANTED} AND workspace_id = place.id AND state = wanted_state AND (
            %(before)s::uuid IS NULL OR (due_at, id) > (%(before_due_at)s::timestamptz, %(before)s)
        )
        ORDER BY due_at, id
        LIMIT %(limit)s
    ) command
    ORDER BY due_at, id
    LIMIT %(limit)s
) {_PAGE % "due_at, id"}"""

# Which of these commands have ended.
FINISHED = """
SELECT id FROM publisher.publish_command
WHERE id = ANY(%(ids)s::uuid[]) AND finished_at IS NOT NULL
"""

# The number of commands in each state, and how long the oldest due one has been due.
COUNT = """
SELECT state, count(*), count(*) FILTER (WHERE due_at <= now()),
       extract(epoch FROM now() - min(due_at) FILTER (WHERE due_at <= now()))
FROM publisher.publish_command WHERE trigger <> 'canary' GROUP BY state
"""

# Delete commands that ended long ago, a limited number at a time.
PRUNE = """
DELETE FROM publisher.publish_command WHERE id IN (
    SELECT id FROM publisher.publish_command
    WHERE finished_at < now() - %(age)s LIMIT %(limit)s
)
"""

# Store an unreadable or invalid message for a person.
QUARANTINE = "INSERT INTO publisher.quarantined_message (body, error) VALUES (%(body)s, %(error)s)"

# The number of quarantined messages.
COUNT_QUARANTINED = "SELECT count(*) FROM publisher.quarantined_message"

PAGE_BYTES = 1024 * 1024
"""A page ends with the row that reaches this size of texts of variable length."""
PATIENCE = timedelta(hours=24)
"""How long a command without a deadline waits for generation."""


@dataclass(slots=True, kw_only=True)
class NewCommand:
    """A command to insert."""

    id: UUID
    action: str
    video_id: int
    workspace_id: int
    trigger: str
    edits: dict[str, Any] | None
    asked_for: datetime | None
    local_time: datetime | None
    time_zone: str | None
    fold: int | None
    zone_digest: str | None
    publish_before: datetime | None
    expected_revision: int | None
    expected_etag: str | None
    counterpart_id: UUID | None
    correlation_id: str
    traceparent: str | None
    requested_by: UUID | None


@dataclass(slots=True, kw_only=True)
class StoredCommand:
    """A command in the inbox."""

    id: UUID
    action: str
    video_id: int
    workspace_id: int
    state: str
    reason: str | None
    detail: str | None
    trigger: str
    edits: dict[str, Any] | None
    accepted_at: datetime
    asked_for: datetime | None
    local_time: datetime | None
    time_zone: str | None
    fold: int | None
    publish_before: datetime | None
    expected_revision: int | None
    expected_etag: str | None
    counterpart_id: UUID | None
    due_at: datetime
    is_due: bool
    """Whether it may be claimed now, by the database's clock."""
    fell_due_at: datetime | None
    claimed_at: datetime | None
    attempts: int
    finished_at: datetime | None
    correlation_id: str
    requested_by: UUID | None
    """The API key that asked for it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StateCount:
    """The commands in one state: their number, the due ones, and the age of the oldest due one."""

    state: CommandState
    count: int
    due: int
    oldest_due_seconds: float | None


def insert(tx: Connection, commands: Sequence[NewCommand]) -> Answer[list[StoredCommand]]:
    """Insert commands in one statement. Its answer has them in the same order."""
    cursor = tx.cursor(binary=True)
    cursor.execute(INSERT, {"commands": to_json(commands).decode(), "patience": PATIENCE})

    def read_answer() -> list[StoredCommand]:
        rows = {row[0]: row for row in cursor}
        return [_to_stored_command(command, rows[command.id]) for command in commands]

    return read_answer


def _to_stored_command(command: NewCommand, row: Sequence[Any]) -> StoredCommand:
    """Return a new command as it is in the inbox, from the row that its insert returned."""
    _, state, edits, accepted_at, due_at, is_due, attempts = row
    return StoredCommand(
        id=command.id,
        action=command.action,
        video_id=command.video_id,
        workspace_id=command.workspace_id,
        state=state,
        reason=None,
        detail=None,
        trigger=command.trigger,
        edits=edits,
        accepted_at=accepted_at,
        asked_for=command.asked_for,
        local_time=command.local_time,
        time_zone=command.time_zone,
        fold=command.fold,
        publish_before=command.publish_before,
        expected_revision=command.expected_revision,
        expected_etag=command.expected_etag,
        counterpart_id=command.counterpart_id,
        due_at=due_at,
        is_due=is_due,
        fell_due_at=None,
        claimed_at=None,
        attempts=attempts,
        finished_at=None,
        correlation_id=command.correlation_id,
        requested_by=command.requested_by,
    )


def read(tx: Connection, ids: Iterable[UUID], workspace_id: int | None) -> list[StoredCommand]:
    """Read commands by id, in one workspace (None: any)."""
    with tx.cursor(row_factory=class_row(StoredCommand)) as cursor:
        values = {"ids": to_array(ids), "workspace_id": workspace_id}
        return cursor.execute(SHOW, values).fetchall()


def read_page(
    tx: Connection, wanted: CommandFilter, *, workspace_id: int | None
) -> Page[StoredCommand]:
    """Read a page of commands in the requested order, in one workspace (None: any).

    A page with large edits ends early. In due order, a page before a command needs its
    `before_due_at`.
    """
    values = wanted.model_dump(exclude={"order"}) | {
        "workspace_id": workspace_id,
        "states": [wanted.state] if wanted.state else list(CommandState),
        "limit": wanted.limit + 1,
        "max_bytes": PAGE_BYTES,
    }
    is_due_order = wanted.order is CommandOrder.DUE
    statement = LIST_DUE if is_due_order else LIST_NEWEST.format(of_state=_of_state(wanted.state))
    with tx.cursor(row_factory=dict_row) as cursor:
        rows = cursor.execute(statement, values).fetchall()
    found = [row.pop("found") for row in rows]
    page = [StoredCommand(**row) for row in rows[: wanted.limit]]
    has_more = bool(page) and found[0] > len(page)
    return Page(page, page[-1] if has_more else None)


def _of_state(state: CommandState | None) -> sql.Composable:
    """Return the condition for a state. PostgreSQL has no statistics of them.

    It takes each state for a rare one, so the usual one is asked for by excluding all the others.
    """
    if state is None:
        return sql.SQL("true")
    if state is not CommandState.PUBLISHED:
        return sql.SQL("state = {}").format(str(state))
    others = [str(other) for other in CommandState if other is not state]
    return sql.SQL("state <> ALL({}::text[])").format(others)


def read_finished(tx: Connection, ids: Iterable[UUID]) -> set[UUID]:
    """Return the commands among `ids` that have ended."""
    return {row[0] for row in tx.execute(FINISHED, {"ids": to_array(ids)})}


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
    """Delete up to `limit` commands that ended more than `age` ago."""
    return tx.execute(PRUNE, {"age": age, "limit": limit}).rowcount


def quarantine(tx: Connection, *, body: str, error: str) -> None:
    """Store an unreadable or invalid message, with the error, for a person."""
    tx.execute(QUARANTINE, {"body": body, "error": error})


def count_quarantined(tx: Connection) -> int:
    """Count the quarantined messages."""
    row = tx.execute(COUNT_QUARANTINED).fetchone()
    return row[0] if row else 0
