"""Failed commands in SQL: grouped by cause, and retried by a filter at a limited rate."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from psycopg.rows import class_row

from db.commands.changes import NEW_ATTEMPTS
from db.commands.inbox import PATIENCE
from db.session import Connection
from schemas.failures import FailureFilter, FailureGroup, FailureRetry

_COLUMNS = "id, workspace_id, action, reason, detail, finished_at, trigger"

# The beginning of the error's text, without what differs from one command to the next.
_CAUSE = r"""left(regexp_replace(
    left(coalesce(detail, ''), 300),
    '"[^"]*"|''[^'']*''|[0-9a-f]+-[0-9a-f]+-[0-9a-f-]+|[0-9]+', '…', 'g'
), 255)"""

_MATCHES = f"""trigger <> 'canary'
  AND (%(workspace_id)s::bigint IS NULL OR workspace_id = %(workspace_id)s)
  AND (%(action)s::text IS NULL OR action = %(action)s)
  AND (%(reason)s::text IS NULL OR reason = %(reason)s)
  AND (%(failed_from)s::timestamptz IS NULL OR finished_at >= %(failed_from)s)
  AND (%(failed_until)s::timestamptz IS NULL OR finished_at <= %(failed_until)s)
  AND (%(cause)s::text IS NULL OR {_CAUSE} = %(cause)s)"""

# The failed commands to look at, the newest first: of all workspaces by id, of one by due time. For
# both there is an index.
_OF_ALL = f"""
SELECT {_COLUMNS} FROM publisher.publish_command
WHERE state = 'failed'
ORDER BY id DESC LIMIT %(candidates)s
"""
_OF_WORKSPACE = f"""
SELECT {_COLUMNS} FROM publisher.publish_command
WHERE workspace_id = %(workspace_id)s AND state = 'failed'
ORDER BY workspace_id DESC, state DESC, due_at DESC, id DESC LIMIT %(candidates)s
"""

_PLACE = "(candidates)"
# Group failed commands by reason and cause, the largest group first.
_GROUP = f"""
WITH candidate AS MATERIALIZED (candidates),
matching AS MATERIALIZED (
    SELECT id, reason, {_CAUSE} AS cause, finished_at FROM candidate WHERE {_MATCHES}
)
SELECT reason, cause, count(*) AS commands, min(finished_at) AS first_failed_at,
       max(finished_at) AS last_failed_at, (array_agg(id ORDER BY id DESC))[1:3] AS examples
FROM matching GROUP BY reason, cause
ORDER BY commands DESC, last_failed_at DESC, cause LIMIT 100
"""
_COUNT = f"""
WITH candidate AS MATERIALIZED (candidates)
SELECT count(*) FILTER (WHERE {_MATCHES}), count(*) FROM candidate
"""
GROUP, COUNT = _GROUP.replace(_PLACE, f"({_OF_ALL})"), _COUNT.replace(_PLACE, f"({_OF_ALL})")
GROUP_WORKSPACE = _GROUP.replace(_PLACE, f"({_OF_WORKSPACE})")
COUNT_WORKSPACE = _COUNT.replace(_PLACE, f"({_OF_WORKSPACE})")

# Give the next failed commands that match new attempts, the oldest first, a limited number per
# second from a given time on.
RETRY_STEP = f"""
WITH candidate AS MATERIALIZED (
    SELECT {_COLUMNS} FROM publisher.publish_command
    WHERE state = 'failed' AND (%(after)s::uuid IS NULL OR id > %(after)s)
    ORDER BY id LIMIT %(candidates)s
),
locked AS MATERIALIZED (
    SELECT id AS failed_id FROM publisher.publish_command
    WHERE id IN (SELECT id FROM candidate WHERE {_MATCHES}) AND state = 'failed'
    FOR UPDATE SKIP LOCKED
),
paced AS (
    SELECT failed_id, row_number() OVER (ORDER BY failed_id) - 1 AS nth FROM locked
),
retried AS (
    UPDATE publisher.publish_command SET {NEW_ATTEMPTS},
        due_at = greatest(now(), %(start_at)s::timestamptz)
               + interval '1 second' * (nth / %(per_second)s::float8)
    FROM paced WHERE id = failed_id
    RETURNING due_at
)
SELECT (SELECT count(*) FROM retried) AS commands,
       (SELECT max(due_at) FROM retried) AS last_due_at,
       (SELECT count(*) FROM candidate) AS candidates,
       (SELECT id FROM candidate ORDER BY id DESC LIMIT 1) AS last_id,
       now() AS now
"""

LOOKED_AT = 10_000
"""How many failed commands are looked at for the groups."""
STEP = 2_000
"""How many failed commands one step of a retry looks at."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RetriedCommands:
    """The result of one step of a retry."""

    commands: int
    last_due_at: datetime | None
    candidates: int
    """How many failed commands were looked at."""
    last_id: UUID | None
    """The last of them."""
    now: datetime
    """The database's clock."""


def read_groups(
    tx: Connection, wanted: FailureFilter, workspace_id: int | None
) -> list[FailureGroup]:
    """Group the newest `LOOKED_AT` failed commands of a workspace (None: of all) that match."""
    statement = GROUP if workspace_id is None else GROUP_WORKSPACE
    with tx.cursor(row_factory=class_row(FailureGroup)) as cursor:
        return cursor.execute(statement, _to_values(wanted, workspace_id), prepare=False).fetchall()


def count(tx: Connection, wanted: FailureFilter, workspace_id: int | None) -> tuple[int, bool]:
    """Count those that match, and return whether there may be more than were looked at."""
    statement = COUNT if workspace_id is None else COUNT_WORKSPACE
    values = _to_values(wanted, workspace_id)
    row = tx.execute(statement, values, prepare=False).fetchone()
    matching, candidates = row or (0, 0)
    return matching, candidates == LOOKED_AT


def retry_step(tx: Connection, asked: FailureRetry, workspace_id: int | None) -> RetriedCommands:
    """Retry those of the next `STEP` failed commands that match."""
    values = _to_values(asked, workspace_id) | {
        "after": asked.after,
        "start_at": asked.start_at,
        "per_second": asked.per_second,
        "patience": PATIENCE,
        "candidates": STEP,
    }
    with tx.cursor(row_factory=class_row(RetriedCommands)) as cursor:
        [result] = cursor.execute(RETRY_STEP, values, prepare=False).fetchall()
    return result


def _to_values(wanted: FailureFilter, workspace_id: int | None) -> dict[str, Any]:
    return {
        "workspace_id": workspace_id,
        "action": wanted.action,
        "reason": wanted.reason,
        "cause": wanted.cause,
        "failed_from": wanted.failed_from,
        "failed_until": wanted.failed_until,
        "candidates": LOOKED_AT,
    }
