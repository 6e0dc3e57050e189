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

from db.session import Answer, Connection

MOST = 10_000
"""A count stops here."""
DUE_NOW = -1
"""The minute of commands that are due."""

# Of one workspace, or of all: in the text, so that each has the plan of its index.
_IN_WORKSPACE = sql.SQL("trigger <> 'canary' AND workspace_id = %(workspace_id)s")
_ANYWHERE = sql.SQL("trigger <> 'canary'")

# The first open commands, in the order of their due times: along an index, from its beginning.
# (With a condition on due_at PostgreSQL 18 would read all of them in another one.)
_FIRST = """(
    SELECT id, action, video_id, workspace_id, state, due_at, fell_due_at, attempts
    FROM publisher.publish_command
    WHERE state IN ('scheduled', 'waiting') AND {here}
    ORDER BY due_at, id LIMIT %(most)s
) first"""

# The database's time with the commands that are due (minute -1), and those that fall due in each
# of the next minutes: how many, and since when the oldest is due. One that waits for generation is
# only checked at its due time. All in one pass: there may be 10,000.
DUE = sql.SQL(f"""
SELECT now(), counted.* FROM (VALUES (true)) once LEFT JOIN (
    SELECT CASE WHEN due_at <= now() THEN -1
                WHEN state = 'scheduled' AND due_at < now() + %(ahead)s
                THEN floor(extract(epoch FROM due_at - now()) / 60)::int END AS minute,
           count(*), min(coalesce(fell_due_at, due_at))
    FROM {_FIRST} GROUP BY 1
) counted ON minute IS NOT NULL
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
    ORDER BY {newest} LIMIT %(most)s
) failed
""")

# The commands that fall due within a time, the earliest first, with their videos' titles; those
# that are due already come first. The commands are found before the videos are read.
NEXT = sql.SQL(f"""
SELECT c.id, c.action, c.video_id, c.workspace_id, c.due_at, v.title,
       extract(epoch FROM now() - coalesce(c.fell_due_at, c.due_at))::float8 AS late_seconds,
       c.attempts
FROM (
    SELECT * FROM {_FIRST}
    WHERE state = 'scheduled' AND due_at < now() + %(ahead)s
    ORDER BY due_at, id LIMIT %(limit)s
) c LEFT JOIN video v ON v.id = c.video_id
ORDER BY c.due_at, c.id
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
    by_minute: dict[int, int]
    """How many fall due in each minute from now, as far as the first `MOST` reach."""
    waiting: int
    """They wait for generation."""
    failed: int
    """They failed within 24 hours."""


def read_counts(tx: Connection, *, workspace_id: int | None, ahead: timedelta) -> Answer[Counts]:
    """Count what is due, falls due within `ahead`, waits and failed: in a pipeline."""
    values = {"workspace_id": workspace_id, "most": MOST, "ahead": ahead}
    due = tx.execute(_place(DUE, workspace_id), values)
    waiting = tx.execute(WAITING, values)
    failed = tx.execute(_place(FAILED, workspace_id), values)

    def answer() -> Counts:
        rows = due.fetchall()
        by_minute = {minute: (commands, since) for _, minute, commands, since in rows}
        count, since = by_minute.pop(DUE_NOW, (0, None))
        [(waits,)], [(fails,)] = waiting.fetchall(), failed.fetchall()
        return Counts(
            now=rows[0][0],
            due=count,
            due_since=since,
            by_minute={minute: commands for minute, (commands, _) in by_minute.items() if commands},
            waiting=waits,
            failed=fails,
        )

    return answer


def read_next(
    tx: Connection, *, workspace_id: int | None, ahead: timedelta, limit: int
) -> Answer[Sequence[DueCommand]]:
    """Return the first commands that are due now or within `ahead`: in a pipeline."""
    values = {"workspace_id": workspace_id, "ahead": ahead, "limit": limit, "most": MOST}
    cursor = tx.cursor(row_factory=class_row(DueCommand))
    return cursor.execute(_place(NEXT, workspace_id), values).fetchall


def _place(statement: sql.SQL, workspace_id: int | None) -> sql.Composed:
    """Return the statement for one workspace, or for all; each order has an index."""
    if workspace_id is None:
        return statement.format(here=_ANYWHERE, newest=sql.SQL("id DESC"))
    return statement.format(here=_IN_WORKSPACE, newest=sql.SQL("workspace_id DESC, id DESC"))
