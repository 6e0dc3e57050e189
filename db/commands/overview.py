"""The overview in SQL: what is due, late, waiting or failed. Each count ends at a limit.

A backlog may have a million commands, and every statement here reads a bounded number of rows.
`workspace_id` None: every workspace.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from psycopg import sql
from psycopg.rows import class_row

from db.session import Connection

MOST = 10_000
"""A count stops here."""

# Of one workspace, or of all: in the text, so that each has the plan of its index.
_IN_WORKSPACE = sql.SQL("trigger <> 'canary' AND workspace_id = %(workspace_id)s")
_ANYWHERE = sql.SQL("trigger <> 'canary'")

# The database's time, the number of due commands, and the earliest due time.
DUE = sql.SQL("""
SELECT now(), count(*), min(since) FROM (
    SELECT coalesce(fell_due_at, due_at) AS since FROM publisher.publish_command
    WHERE state IN ('scheduled', 'waiting') AND due_at <= now() AND {here}
    ORDER BY due_at, id LIMIT %(most)s
) due
""")

# The number of commands that wait for generation. For each workspace, found one by one in an index,
# the index has them by their state.
WAITING = """
WITH RECURSIVE place (id) AS (
    SELECT coalesce(%(workspace_id)s::bigint,
                    (SELECT min(workspace_id) FROM publisher.publish_command))
    UNION ALL
    SELECT (SELECT min(workspace_id) FROM publisher.publish_command WHERE workspace_id > place.id)
    FROM place WHERE place.id IS NOT NULL AND %(workspace_id)s::bigint IS NULL
)
SELECT count(*) FROM (
    SELECT FROM place, LATERAL (
        SELECT FROM publisher.publish_command c
        WHERE c.workspace_id = place.id AND c.state = 'waiting' LIMIT %(most)s
    ) waiting LIMIT %(most)s
) counted
"""

# The number of commands that failed within a day and were not retried, among the newest failed.
FAILED = sql.SQL("""
SELECT count(*) FILTER (WHERE finished_at > now() - interval '24 hours') FROM (
    SELECT finished_at FROM publisher.publish_command
    WHERE state = 'failed' AND {here}
    ORDER BY {newest} DESC LIMIT %(most)s
) failed
""")

# The commands that fall due within a time, the earliest first, with their videos' titles; those
# that are due already come first. The commands are found before the videos are read. One that waits
# for generation is only checked at its due time.
NEXT = sql.SQL("""
SELECT c.id, c.action, c.video_id, c.workspace_id, c.due_at, v.title,
       extract(epoch FROM now() - coalesce(c.fell_due_at, c.due_at))::float8 AS late_seconds,
       c.attempts
FROM (
    SELECT id, action, video_id, workspace_id, due_at, fell_due_at, attempts
    FROM publisher.publish_command
    WHERE state = 'scheduled' AND due_at < now() + %(ahead)s AND {here}
    ORDER BY due_at, id LIMIT %(limit)s
) c LEFT JOIN video v ON v.id = c.video_id
ORDER BY c.due_at, c.id
""")

# How many commands fall due in each of the next minutes.
BY_MINUTE = sql.SQL("""
SELECT floor(extract(epoch FROM due_at - now()) / 60)::int AS minute, count(*) FROM (
    SELECT due_at FROM publisher.publish_command
    WHERE state = 'scheduled' AND due_at > now() AND due_at < now() + %(ahead)s AND {here}
    ORDER BY due_at, id LIMIT %(most)s
) coming
GROUP BY 1 ORDER BY 1
""")


@dataclass(frozen=True, slots=True, kw_only=True)
class DueCommand:
    """A command that is due, or will be soon."""

    id: UUID
    action: str
    video_id: int
    workspace_id: int
    due_at: datetime
    title: str | None
    """None: the video was deleted."""
    late_seconds: float
    """How long it has been due; negative: how long until it is."""
    attempts: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Counts:
    """Numbers of commands. One that is `MOST` stands for that many or more."""

    now: datetime
    """By the database's clock."""
    due: int
    due_since: datetime | None
    """Since when the oldest due command has been due. None: none is due."""
    waiting: int
    """They wait for generation."""
    failed: int
    """They failed within 24 hours."""


def read_counts(tx: Connection, workspace_id: int | None) -> Counts:
    """Count what is due, waiting and failed."""
    values = {"workspace_id": workspace_id, "most": MOST}
    with tx.pipeline():
        due = tx.execute(_place(DUE, workspace_id), values)
        waiting = tx.execute(WAITING, values)
        failed = tx.execute(_place(FAILED, workspace_id), values)
    [(now, count, since)] = due.fetchall()
    [(waits,)], [(fails,)] = waiting.fetchall(), failed.fetchall()
    return Counts(now=now, due=count, due_since=since, waiting=waits, failed=fails)


def read_next(
    tx: Connection, *, workspace_id: int | None, ahead: timedelta, limit: int
) -> Sequence[DueCommand]:
    """Return the first commands that are due now or within `ahead`."""
    values = {"workspace_id": workspace_id, "ahead": ahead, "limit": limit}
    with tx.cursor(row_factory=class_row(DueCommand)) as cursor:
        return cursor.execute(_place(NEXT, workspace_id), values).fetchall()


def count_by_minute(
    tx: Connection, *, workspace_id: int | None, ahead: timedelta
) -> dict[int, int]:
    """Return how many commands fall due in each minute from now; minutes without one are absent."""
    values = {"workspace_id": workspace_id, "ahead": ahead, "most": MOST}
    return dict(tx.execute(_place(BY_MINUTE, workspace_id), values).fetchall())


def _place(statement: sql.SQL, workspace_id: int | None) -> sql.Composed:
    """Return the statement for one workspace, or for all; each order has an index."""
    if workspace_id is None:
        return statement.format(here=_ANYWHERE, newest=sql.Identifier("id"))
    return statement.format(here=_IN_WORKSPACE, newest=sql.Identifier("due_at"))
