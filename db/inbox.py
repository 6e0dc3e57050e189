"""The inbox: commands accepted, claimed, shown, changed; one statement for one or a thousand."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from psycopg.rows import class_row
from pydantic_core import to_json

from db.session import Connection, array_of, wait_briefly
from schemas.command import (
    CommandFilter,
    CommandOrder,
    CommandState,
    FailureCause,
    Retried,
)
from schemas.facts import ClaimedCommand

# Accept commands. A time that has passed means now.
INSERT = """
INSERT INTO publisher.publish_command
    (id, action, video_id, workspace_id, trigger, edits, edits_bytes,
     asked_for, local_time, time_zone, fold, zone_digest, due_at, publish_before, patient_until,
     expected_revision, expected_etag, counterpart_id, correlation_id, traceparent)
SELECT id, action, video_id, workspace_id, trigger, edits, coalesce(octet_length(edits::text), 0),
       asked_for, local_time, time_zone, fold, zone_digest,
       greatest(asked_for, now()), publish_before, greatest(asked_for, now()) + %(patience)s,
       expected_revision, expected_etag, counterpart_id, correlation_id, traceparent
FROM jsonb_to_recordset(%(commands)s::jsonb) AS (
    id uuid, action text, video_id bigint, workspace_id bigint, trigger text, edits jsonb,
    asked_for timestamptz, local_time timestamp, time_zone text, fold smallint, zone_digest text,
    publish_before timestamptz, expected_revision int, expected_etag text, counterpart_id uuid,
    correlation_id text, traceparent text
)
"""

_CLAIMED = """id, action, video_id, workspace_id, state, trigger, edits, accepted_at, asked_for,
       local_time, time_zone, fold, due_at, fell_due_at, publish_before, patient_until,
       expected_revision, expected_etag, counterpart_id, checks, attempts, correlation_id,
       traceparent"""

_WAS_PUBLISHED = """EXISTS (
           SELECT FROM publisher.video_release r WHERE r.video_id = {command}.video_id
       ) AS was_published"""

_COUNTERPART = """CASE WHEN {command}.counterpart_id IS NOT NULL THEN (
           SELECT other.asked_for FROM publisher.publish_command other
           WHERE other.id = {command}.counterpart_id AND other.state <> 'cancelled'
       ) END AS counterpart_at,
       CASE WHEN {command}.counterpart_id IS NOT NULL THEN (
           SELECT other.state FROM publisher.publish_command other
           WHERE other.id = {command}.counterpart_id
       ) END AS counterpart_state"""

# A command's place in its video's order: when it fell due, whatever postponed it since.
_PLACE = "(coalesce({command}.fell_due_at, {command}.due_at), {command}.id)"

_OPEN = "state IN ('scheduled', 'waiting')"

# No command overtakes an older one of its video: not one that stands aside or backs off …
_NO_OLDER_POSTPONED = f"""(
        SELECT older.id FROM publisher.publish_command older
        WHERE older.video_id = c.video_id AND older.{_OPEN}
          AND older.due_at > now() AND older.fell_due_at <= now()
          AND {_PLACE.format(command="older")} < {_PLACE.format(command="c")}
        LIMIT 1
    ) IS NULL"""

# … and not one that is due, but not in the same claim: held by another, or beyond the limit.
_CLAIM = f"""
WITH {{due}},
ranked AS (
    SELECT due.*, row_number() OVER (PARTITION BY is_late ORDER BY due_at, id) AS nth FROM due
),
sized AS (
    SELECT ranked.*, sum(edits_bytes) OVER (ORDER BY nth, due_at, id) - edits_bytes AS bytes_before
    FROM ranked
),
taken AS (
    SELECT * FROM sized c
    WHERE bytes_before < %(bytes)s AND (
        SELECT older.id FROM publisher.publish_command older
        WHERE older.video_id = c.video_id AND older.{_OPEN} AND older.id <> c.id
          AND coalesce(older.fell_due_at, older.due_at) <= now()
          AND {_PLACE.format(command="older")} < {_PLACE.format(command="c")}
          AND older.id NOT IN (SELECT id FROM sized WHERE bytes_before < %(bytes)s)
        LIMIT 1
    ) IS NULL
),
held AS (
    SELECT v.id FROM video v
    WHERE v.id IN (SELECT video_id FROM taken)
    FOR NO KEY UPDATE SKIP LOCKED
)
SELECT {_CLAIMED},
       video_id IN (SELECT id FROM held) AS video_held,
       EXISTS (SELECT FROM video v WHERE v.id = taken.video_id) AS video_exists,
       {_WAS_PUBLISHED.format(command="taken")},
       {_COUNTERPART.format(command="taken")},
       clock_timestamp() AS now
FROM taken
ORDER BY {_PLACE.format(command="taken")}
"""

# Take the commands that are due, oldest first, and hold their videos' rows. After an outage those
# that are late never fill the batch: a part of it is for what falls due now.
CLAIM_DUE = _CLAIM.format(
    due=f"""late AS (
    SELECT {_CLAIMED}, edits_bytes, true AS is_late
    FROM publisher.publish_command c
    WHERE {_OPEN} AND due_at <= now() - %(late)s AND {_NO_OLDER_POSTPONED}
    ORDER BY due_at, id
    LIMIT least(%(limit)s, greatest(1, %(limit)s * 4 / 5))
    FOR UPDATE SKIP LOCKED
),
fresh AS (
    SELECT {_CLAIMED}, edits_bytes, false AS is_late
    FROM publisher.publish_command c
    WHERE {_OPEN} AND due_at > now() - %(late)s AND due_at <= now() AND {_NO_OLDER_POSTPONED}
    ORDER BY due_at, id
    LIMIT %(limit)s - (SELECT count(*) FROM late)
    FOR UPDATE SKIP LOCKED
),
due AS (SELECT * FROM late UNION ALL SELECT * FROM fresh)"""
)

# Take these commands again, after their batch failed.
CLAIM_THESE = _CLAIM.format(
    due=f"""due AS (
    SELECT {_CLAIMED}, edits_bytes, false AS is_late
    FROM publisher.publish_command c
    WHERE {_OPEN} AND id = ANY(%(ids)s::uuid[])
    ORDER BY due_at, id
    LIMIT %(limit)s
    FOR UPDATE SKIP LOCKED
)"""
)

# Take commands that have not ended, waiting for whoever holds them.
HOLD = f"""
SELECT {_CLAIMED}, true AS video_held, true AS video_exists,
       {_WAS_PUBLISHED.format(command="c")},
       {_COUNTERPART.format(command="c")},
       clock_timestamp() AS now
FROM publisher.publish_command c
WHERE id = ANY(%(ids)s::uuid[]) AND {_OPEN}
ORDER BY id
FOR UPDATE
"""

_COLUMNS = """id, action, video_id, workspace_id, state, reason, detail, trigger, edits,
       accepted_at, asked_for, local_time, time_zone, fold, publish_before, expected_revision,
       expected_etag, counterpart_id, due_at, fell_due_at, claimed_at, attempts, finished_at,
       correlation_id"""

# Commands by id, as far as the caller's workspace goes.
SHOW = f"""
SELECT {_COLUMNS} FROM publisher.publish_command
WHERE id = ANY(%(ids)s::uuid[])
  AND (%(workspace_id)s::bigint IS NULL OR workspace_id = %(workspace_id)s)
ORDER BY id
"""

_WANTED = """trigger <> 'canary'
  AND (%(workspace_id)s::bigint IS NULL OR workspace_id = %(workspace_id)s)
  AND (%(video_id)s::bigint IS NULL OR video_id = %(video_id)s)
  AND (%(state)s::text IS NULL OR state = %(state)s)
  AND (%(action)s::text IS NULL OR action = %(action)s)
  AND (%(due_from)s::timestamptz IS NULL OR due_at >= %(due_from)s)
  AND (%(due_until)s::timestamptz IS NULL OR due_at < %(due_until)s)"""

# A page of commands, newest first, before a given one.
LIST_NEWEST = f"""
SELECT {_COLUMNS} FROM publisher.publish_command
WHERE {_WANTED} AND (%(before)s::uuid IS NULL OR id < %(before)s)
ORDER BY id DESC
LIMIT %(limit)s
"""

# A page of commands, the next one due first, behind a given one.
LIST_DUE = f"""
SELECT {_COLUMNS} FROM publisher.publish_command
WHERE {_WANTED} AND (
    %(before)s::uuid IS NULL
    OR (due_at, id) > (coalesce(%(before_due_at)s::timestamptz, '-infinity'), %(before)s)
)
ORDER BY due_at, id
LIMIT %(limit)s
"""

# Which of these commands have ended.
FINISHED = """
SELECT id FROM publisher.publish_command
WHERE id = ANY(%(ids)s::uuid[]) AND finished_at IS NOT NULL
"""

# Give commands that are held another time, another latest moment.
RESCHEDULE = """
UPDATE publisher.publish_command c SET
    asked_for = n.asked_for, local_time = n.local_time, time_zone = n.time_zone, fold = n.fold,
    zone_digest = CASE WHEN n.time_zone IS NOT NULL THEN coalesce(n.zone_digest, c.zone_digest) END,
    due_at = n.due_at,
    fell_due_at = CASE WHEN n.says_time THEN NULL ELSE c.fell_due_at END,
    publish_before = n.publish_before, patient_until = n.due_at + %(patience)s,
    state = CASE WHEN n.due_at > clock_timestamp() THEN 'scheduled' ELSE c.state END,
    reason = NULL, detail = NULL
FROM jsonb_to_recordset(%(changes)s::jsonb) AS n (
    id uuid, asked_for timestamptz, local_time timestamp, time_zone text, fold smallint,
    zone_digest text, due_at timestamptz, says_time boolean, publish_before timestamptz
)
WHERE c.id = n.id
"""

# Ask a command that waits again at once.
ASK_AGAIN = """
UPDATE publisher.publish_command SET due_at = now() WHERE id = %(id)s AND state = 'waiting'
"""

_NEW_ATTEMPTS = """state = 'scheduled', reason = NULL, detail = NULL, attempts = 0, checks = 0,
    finished_at = NULL, fell_due_at = NULL, claimed_at = NULL,
    patient_until = now() + %(patience)s"""

# Give a failed command a new set of attempts.
RETRY = f"""
UPDATE publisher.publish_command SET {_NEW_ATTEMPTS}, due_at = now()
WHERE id = %(id)s AND state = 'failed'
"""

_FAILED = """state = 'failed' AND trigger <> 'canary'
      AND (%(workspace_id)s::bigint IS NULL OR workspace_id = %(workspace_id)s)"""

# Give failed commands, oldest first, new attempts; so many fall due each second.
RETRY_ALL = f"""
WITH failed AS MATERIALIZED (
    SELECT id AS failed_id FROM publisher.publish_command
    WHERE {_FAILED}
      AND (%(cause)s::text IS NULL OR split_part(detail, ':', 1) = %(cause)s)
    ORDER BY id LIMIT %(limit)s
    FOR UPDATE SKIP LOCKED
),
paced AS (
    SELECT failed_id, row_number() OVER (ORDER BY failed_id) - 1 AS nth FROM failed
),
retried AS (
    UPDATE publisher.publish_command SET {_NEW_ATTEMPTS},
        due_at = now() + interval '1 second' * (nth / %(per_second)s::float8)
    FROM paced WHERE id = failed_id
    RETURNING due_at
)
SELECT count(*), max(due_at) FROM retried
"""

# Why commands failed: the error's type, which their details begin with.
CAUSES = f"""
SELECT split_part(detail, ':', 1) AS cause, count(*) AS commands,
       max(finished_at) AS last_finished_at,
       (array_agg(id ORDER BY finished_at DESC))[1] AS example
FROM publisher.publish_command
WHERE {_FAILED}
GROUP BY 1 ORDER BY 2 DESC, 1 LIMIT 100
"""

# How many open commands were computed by which version of which zone's rules.
ZONES = """
SELECT DISTINCT time_zone, zone_digest FROM publisher.publish_command
WHERE state = 'scheduled' AND time_zone IS NOT NULL
"""

# Take timed commands whose instants were computed by these rules, to compute them again.
HOLD_OUTDATED = f"""
SELECT {_CLAIMED}, true AS video_held, true AS video_exists,
       {_WAS_PUBLISHED.format(command="c")},
       {_COUNTERPART.format(command="c")},
       clock_timestamp() AS now
FROM publisher.publish_command c
WHERE state = 'scheduled' AND time_zone = %(zone)s AND zone_digest = %(digest)s
LIMIT %(limit)s
FOR UPDATE SKIP LOCKED
"""

# How many commands are in each state, and how old the oldest due one is.
COUNT = """
SELECT state, count(*), count(*) FILTER (WHERE due_at <= now()),
       extract(epoch FROM now() - min(due_at) FILTER (WHERE due_at <= now()))
FROM publisher.publish_command WHERE trigger <> 'canary' GROUP BY state
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
LATE = timedelta(seconds=1)
"""What is later than this is of an outage, and leaves room for what falls due now."""
MAX_RETRIED = 10_000
"""Commands that one call retries."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NewCommand:
    """A command about to be accepted."""

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


@dataclass(frozen=True, slots=True, kw_only=True)
class Timing:
    """Another time, another latest moment, for a command that is held."""

    id: UUID
    asked_for: datetime | None
    local_time: datetime | None
    time_zone: str | None
    fold: int | None
    zone_digest: str | None
    """None: as it was."""
    due_at: datetime
    says_time: bool
    """Whether it is another time, and not only another latest moment."""
    publish_before: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class CommandRow:
    """A command as it stands in the inbox."""

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
    fell_due_at: datetime | None
    claimed_at: datetime | None
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
        values = {"limit": limit, "bytes": MAX_BYTES, "late": LATE}
        return cursor.execute(CLAIM_DUE, values).fetchall()


def claim_these(tx: Connection, ids: Sequence[UUID]) -> list[ClaimedCommand]:
    """Take these commands, as far as they have not ended and nobody else holds them."""
    with tx.cursor(row_factory=class_row(ClaimedCommand), binary=True) as cursor:
        values = {"ids": array_of(ids), "limit": len(ids), "bytes": MAX_BYTES}
        return cursor.execute(CLAIM_THESE, values).fetchall()


def hold(tx: Connection, ids: Sequence[UUID]) -> list[ClaimedCommand]:
    """Take commands by id, waiting for whoever holds them; what has ended by then is left out.

    Raises LockNotAvailable after a while: a platform's transaction that ends generation may hold
    them for as long as it likes.
    """
    wait_briefly(tx)
    with tx.cursor(row_factory=class_row(ClaimedCommand), binary=True) as cursor:
        return cursor.execute(HOLD, {"ids": array_of(ids)}).fetchall()


def show(tx: Connection, ids: Iterable[UUID], workspace_id: int | None) -> list[CommandRow]:
    """Read commands by id; what lies in another workspace does not exist."""
    with tx.cursor(row_factory=class_row(CommandRow)) as cursor:
        values = {"ids": array_of(ids), "workspace_id": workspace_id}
        return cursor.execute(SHOW, values).fetchall()


def page(
    tx: Connection, wanted: CommandFilter, *, workspace_id: int | None, limit: int
) -> list[CommandRow]:
    """Read a page of commands in the order asked for, of one workspace or all."""
    values = wanted.model_dump(exclude={"order"}) | {"workspace_id": workspace_id, "limit": limit}
    statement = LIST_DUE if wanted.order is CommandOrder.DUE else LIST_NEWEST
    with tx.cursor(row_factory=class_row(CommandRow)) as cursor:
        return cursor.execute(statement, values).fetchall()


def finished(tx: Connection, ids: Iterable[UUID]) -> set[UUID]:
    """Tell which of these commands have ended."""
    return {row[0] for row in tx.execute(FINISHED, {"ids": array_of(ids)})}


def reschedule(tx: Connection, changes: Sequence[Timing]) -> None:
    """Write other times to commands that this transaction holds."""
    values = {"changes": to_json(changes).decode(), "patience": PATIENCE}
    tx.execute(RESCHEDULE, values)


def ask_again(tx: Connection, command_id: UUID) -> None:
    """Ask a command that waits for generation again at once."""
    tx.execute(ASK_AGAIN, {"id": command_id})


def retry(tx: Connection, command_id: UUID) -> bool:
    """Give a failed command new attempts; False if it is not `failed`."""
    return tx.execute(RETRY, {"id": command_id, "patience": PATIENCE}).rowcount == 1


def retry_all(
    tx: Connection, *, workspace_id: int | None, cause: str | None, per_second: int
) -> Retried:
    """Give failed commands new attempts, so many each second; at most `MAX_RETRIED` of them."""
    values = {
        "workspace_id": workspace_id,
        "cause": cause,
        "per_second": per_second,
        "patience": PATIENCE,
        "limit": MAX_RETRIED,
    }
    count, last = tx.execute(RETRY_ALL, values).fetchone() or (0, None)
    return Retried(commands=count, last_due_at=last)


def causes(tx: Connection, workspace_id: int | None) -> list[FailureCause]:
    """Group the failed commands by their causes, the most frequent one first."""
    with tx.cursor(row_factory=class_row(FailureCause)) as cursor:
        return cursor.execute(CAUSES, {"workspace_id": workspace_id}).fetchall()


def zones(tx: Connection) -> list[tuple[str, str]]:
    """Return each zone that scheduled commands were told in, with the digest of its rules then."""
    return tx.execute(ZONES).fetchall()  # pyright: ignore[reportReturnType] - two texts


def hold_outdated(tx: Connection, zone: str, digest: str, limit: int) -> list[ClaimedCommand]:
    """Take scheduled commands of a zone that were computed by these rules."""
    with tx.cursor(row_factory=class_row(ClaimedCommand), binary=True) as cursor:
        values = {"zone": zone, "digest": digest, "limit": limit}
        return cursor.execute(HOLD_OUTDATED, values).fetchall()


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
