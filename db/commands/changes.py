"""Changes of accepted commands in SQL: reschedule, retry, causes of failures."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from psycopg.rows import class_row
from pydantic_core import to_json

from db.commands.inbox import PATIENCE
from db.session import Connection
from schemas.inbox import FailureCause, Retried

# Change the times and deadlines of locked commands.
RESCHEDULE = """
UPDATE publisher.publish_command c SET
    asked_for = n.asked_for, local_time = n.local_time, time_zone = n.time_zone, fold = n.fold,
    zone_digest = CASE WHEN n.time_zone IS NOT NULL THEN coalesce(n.zone_digest, c.zone_digest) END,
    due_at = n.due_at,
    fell_due_at = CASE WHEN n.changes_time THEN NULL ELSE c.fell_due_at END,
    publish_before = n.publish_before, patient_until = n.due_at + %(patience)s,
    state = CASE WHEN n.due_at > clock_timestamp() THEN 'scheduled' ELSE c.state END,
    reason = NULL, detail = NULL, rescheduled_at = now(), is_announced = true
FROM jsonb_to_recordset(%(changes)s::jsonb) AS n (
    id uuid, asked_for timestamptz, local_time timestamp, time_zone text, fold smallint,
    zone_digest text, due_at timestamptz, changes_time boolean, publish_before timestamptz
)
WHERE c.id = n.id
"""

# Note that commands were announced, with their instants by this machine's time-zone data.
ANNOUNCE = """
UPDATE publisher.publish_command c SET
    is_announced = true, asked_for = n.asked_for, due_at = n.due_at,
    zone_digest = coalesce(n.zone_digest, c.zone_digest), patient_until = n.due_at + %(patience)s
FROM jsonb_to_recordset(%(changes)s::jsonb) AS n (
    id uuid, asked_for timestamptz, zone_digest text, due_at timestamptz
)
WHERE c.id = n.id
"""

# Make a command that waits for generation due now.
CHECK_AGAIN = """
UPDATE publisher.publish_command SET due_at = now() WHERE id = %(id)s AND state = 'waiting'
"""

NEW_ATTEMPTS = """state = 'scheduled', reason = NULL, detail = NULL, cause = NULL, attempts = 0,
    checks = 0, finished_at = NULL, fell_due_at = NULL, claimed_at = NULL,
    patient_until = now() + %(patience)s"""

# Give a failed command a new set of attempts.
RETRY = f"""
UPDATE publisher.publish_command SET {NEW_ATTEMPTS}, due_at = now()
WHERE id = %(id)s AND state = 'failed'
"""

_FAILED = """state = 'failed' AND trigger <> 'canary'
      AND (%(workspace_id)s::bigint IS NULL OR workspace_id = %(workspace_id)s)"""

_WANTED = f"""{_FAILED}
      AND (%(cause)s::text IS NULL OR split_part(detail, ':', 1) = %(cause)s)"""

# The number of failed commands, as far as it is counted, and the time.
COUNT_FAILED = f"""
SELECT count(*), now() FROM (
    SELECT FROM publisher.publish_command WHERE {_WANTED} LIMIT %(limit)s
) failed
"""

# Give failed commands new attempts, the oldest first, a limited number per second. Those that
# failed after a time are left out: a call in pages would retry them again and again.
RETRY_ALL = f"""
WITH failed AS MATERIALIZED (
    SELECT id AS failed_id FROM publisher.publish_command
    WHERE {_WANTED}
      AND (%(until)s::timestamptz IS NULL OR finished_at <= %(until)s)
    ORDER BY id LIMIT %(limit)s
    FOR UPDATE SKIP LOCKED
),
paced AS (
    SELECT failed_id, row_number() OVER (ORDER BY failed_id) - 1 AS nth FROM failed
),
retried AS (
    UPDATE publisher.publish_command SET {NEW_ATTEMPTS},
        due_at = greatest(now(), %(due_from)s::timestamptz)
            + interval '1 second' * (nth / %(per_second)s::float8)
    FROM paced WHERE id = failed_id
    RETURNING due_at
)
SELECT count(*), max(due_at) FROM retried
"""

# Why commands failed: the type of the error, with which their details begin. The newest failed
# commands are looked at: a count of all would not end in time when there are millions.
CAUSES = f"""
WITH failed AS MATERIALIZED (
    SELECT id, detail, finished_at FROM publisher.publish_command
    WHERE {_FAILED} ORDER BY id DESC LIMIT %(looked_at)s
)
SELECT split_part(detail, ':', 1) AS cause, count(*) AS commands,
       max(finished_at) AS last_finished_at,
       (array_agg(id ORDER BY finished_at DESC))[1] AS example
FROM failed
GROUP BY 1 ORDER BY 2 DESC, 1 LIMIT 100
"""

LOOKED_AT = 100_000
"""How many failed commands are looked at for their causes."""
COUNTED = 1_000_000
"""How many failed commands are counted before a retry."""
MAX_RETRIED = 10_000
"""Commands that one call retries."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Timing:
    """The new times of a locked command."""

    id: UUID
    asked_for: datetime | None
    local_time: datetime | None
    time_zone: str | None
    fold: int | None
    zone_digest: str | None
    """None: not changed."""
    due_at: datetime
    changes_time: bool
    """Whether the time changes, and not only the deadline."""
    publish_before: datetime | None


def reschedule(tx: Connection, changes: Sequence[Timing]) -> None:
    """Write new times to commands that this transaction has locked."""
    values = {"changes": to_json(changes).decode(), "patience": PATIENCE}
    tx.execute(RESCHEDULE, values)


def announce(tx: Connection, changes: Sequence[Timing]) -> None:
    """Note that commands that this transaction has locked were announced."""
    tx.execute(ANNOUNCE, {"changes": to_json(changes).decode(), "patience": PATIENCE})


def check_again(tx: Connection, command_id: UUID) -> None:
    """Make a command that waits for generation due now."""
    tx.execute(CHECK_AGAIN, {"id": command_id})


def retry(tx: Connection, command_id: UUID) -> bool:
    """Give a failed command new attempts; False if it is not `failed`."""
    return tx.execute(RETRY, {"id": command_id, "patience": PATIENCE}).rowcount == 1


def count_failed(tx: Connection, cause: str | None) -> tuple[int, datetime]:
    """Count the failed commands of any workspace, up to `COUNTED`; return the time, too."""
    values = {"workspace_id": None, "cause": cause, "limit": COUNTED}
    count, now = tx.execute(COUNT_FAILED, values).fetchone() or (0, None)
    if now is None:
        raise AssertionError
    return count, now


def retry_all(
    tx: Connection,
    *,
    workspace_id: int | None,
    cause: str | None,
    per_second: int,
    limit: int = MAX_RETRIED,
    until: datetime | None = None,
    due_from: datetime | None = None,
) -> Retried:
    """Give up to `limit` failed commands new attempts, `per_second` of them each second.

    `until`: only those that failed by then. `due_from`: the first one is due then, not now.
    """
    values = {
        "workspace_id": workspace_id,
        "cause": cause,
        "per_second": per_second,
        "patience": PATIENCE,
        "limit": limit,
        "until": until,
        "due_from": due_from,
    }
    count, last = tx.execute(RETRY_ALL, values).fetchone() or (0, None)
    return Retried(commands=count, last_due_at=last)


def read_causes(tx: Connection, workspace_id: int | None) -> list[FailureCause]:
    """Group the newest `LOOKED_AT` failed commands by cause, the most frequent one first."""
    with tx.cursor(row_factory=class_row(FailureCause)) as cursor:
        return cursor.execute(
            CAUSES, {"workspace_id": workspace_id, "looked_at": LOOKED_AT}
        ).fetchall()
