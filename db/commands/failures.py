"""Failed commands in SQL: grouped by cause, and retried by a filter at a limited rate."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any, LiteralString
from uuid import UUID

from psycopg.rows import class_row, dict_row

from db.commands.changes import NEW_ATTEMPTS
from db.commands.inbox import PATIENCE
from db.session import Connection
from schemas.failures import FailureFilter, FailureGroup, FailureGroups, FailureRetry


def to_cause(detail: LiteralString) -> LiteralString:
    """SQL of the cause: the beginning of an error's text, without what differs between commands.

    It is stored with a failure, because to compute it for thousands of rows takes too long.
    """
    return rf"""left(regexp_replace(
    left(coalesce({detail}, ''), 300),
    '"[^"]*"|''[^'']*''|[0-9a-f]+-[0-9a-f]+-[0-9a-f-]+|[0-9]+', '…', 'g'
), 255)"""


# The columns of the indexes of failed commands, so that the rows are not read.
_COLUMNS = "id, workspace_id, action, reason, cause, finished_at, trigger"

# Older releases do not store the cause. (OFFSET 0: only then is the row not read for the others.)
_WITH_CAUSE = f"""
SELECT looked_at.id, workspace_id, action, reason, coalesce(cause, computed) AS cause, finished_at,
       trigger
FROM looked_at LEFT JOIN LATERAL (
    SELECT {to_cause("detail")} AS computed FROM publisher.publish_command
    WHERE id = looked_at.id AND looked_at.cause IS NULL OFFSET 0
) older ON true
"""

_MATCHES = """trigger <> 'canary'
  AND (%(workspace_id)s::bigint IS NULL OR workspace_id = %(workspace_id)s)
  AND (%(action)s::text IS NULL OR action = %(action)s)
  AND (%(reason)s::text IS NULL OR reason = %(reason)s)
  AND (%(failed_from)s::timestamptz IS NULL OR finished_at >= %(failed_from)s)
  AND (%(failed_until)s::timestamptz IS NULL OR finished_at <= %(failed_until)s)
  AND (%(cause)s::text IS NULL OR cause = %(cause)s)"""

# The failed commands to look at, the newest first: of all workspaces, or of one. For both there is
# an index.
_OF_ALL = f"""
SELECT {_COLUMNS} FROM publisher.publish_command
WHERE state = 'failed'
ORDER BY id DESC LIMIT %(candidates)s
"""
_OF_WORKSPACE = f"""
SELECT {_COLUMNS} FROM publisher.publish_command
WHERE workspace_id = %(workspace_id)s AND state = 'failed'
ORDER BY workspace_id DESC, id DESC LIMIT %(candidates)s
"""

# Group failed commands by reason and cause, the largest group first; with the number of those that
# match, and of those that were looked at. Without a group, there is one row of these numbers.
_GROUP = f"""
WITH looked_at AS MATERIALIZED ({{candidates}}),
matching AS MATERIALIZED (
    SELECT id, reason, cause, finished_at FROM ({_WITH_CAUSE}) candidate WHERE {_MATCHES}
),
grouped AS (
    SELECT reason, cause, count(*) AS commands, min(finished_at) AS first_failed_at,
           max(finished_at) AS last_failed_at, (array_agg(id ORDER BY id DESC))[1:3] AS examples
    FROM matching GROUP BY reason, cause
    ORDER BY commands DESC, last_failed_at DESC, cause LIMIT 100
)
SELECT counted.*, grouped.*
FROM (
    SELECT (SELECT count(*) FROM matching) AS matching,
           (SELECT count(*) FROM looked_at) AS looked_at
) counted LEFT JOIN grouped ON true
ORDER BY commands DESC, last_failed_at DESC, cause
"""
GROUP = _GROUP.format(candidates=_OF_ALL)
GROUP_WORKSPACE = _GROUP.format(candidates=_OF_WORKSPACE)

# Give the next failed commands that match new attempts, the oldest first, a limited number per
# second from a given time on.
RETRY_STEP = f"""
WITH looked_at AS MATERIALIZED (
    SELECT {_COLUMNS} FROM publisher.publish_command
    WHERE state = 'failed' AND (%(after)s::uuid IS NULL OR id > %(after)s)
    ORDER BY id LIMIT %(candidates)s
),
locked AS MATERIALIZED (
    SELECT id AS failed_id FROM publisher.publish_command
    WHERE id IN (SELECT id FROM ({_WITH_CAUSE}) candidate WHERE {_MATCHES}) AND state = 'failed'
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
       (SELECT count(*) FROM looked_at) AS candidates,
       (SELECT id FROM looked_at ORDER BY id DESC LIMIT 1) AS last_id,
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


def read_groups(tx: Connection, wanted: FailureFilter, workspace_id: int | None) -> FailureGroups:
    """Group and count those that match of the newest `LOOKED_AT` failed commands.

    `workspace_id` None: of all workspaces.
    """
    statement = GROUP if workspace_id is None else GROUP_WORKSPACE
    with tx.cursor(row_factory=dict_row) as cursor:
        values = _to_values(wanted, workspace_id)
        rows = cursor.execute(statement, values, prepare=False).fetchall()
    counts = [(row.pop("matching"), row.pop("looked_at")) for row in rows]
    matching, looked_at = counts[0]
    return FailureGroups(
        groups=[FailureGroup(**row) for row in rows if row["commands"]],
        commands=matching,
        is_partial=looked_at == LOOKED_AT,
    )


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
