"""The calendar in SQL: the commands with a time in a range, with their videos' titles.

The number of rows that a statement reads is bounded. `workspace_id` None: every workspace.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from psycopg import sql
from psycopg.rows import dict_row

from db.session import Connection
from schemas.command import CommandState

COLUMNS = sql.SQL(
    """id, action, video_id, workspace_id, state, reason, detail, accepted_at, asked_for,
    local_time, time_zone, fold, due_at, finished_at, rescheduled_at"""
)
# Of one workspace, or of all: in the text, so that each has the plan of its index.
_IN_WORKSPACE = sql.SQL("trigger <> 'canary' AND workspace_id = %(workspace_id)s")
_ANYWHERE = sql.SQL("trigger <> 'canary'")

# The commands of a range that have a time: those ahead, the earliest first; then, the newest first,
# open ones whose time has passed, and of one workspace those that have ended. Of these two, the
# newest are looked at: in an index, a command that asked for no time is between the others.
# `examined` is the number of those that were looked at, at most the limit for each state.
LIST = sql.SQL("""
WITH ahead AS (
    SELECT {columns}, 0 AS part, 0 AS examined FROM publisher.publish_command
    WHERE state IN ('scheduled', 'waiting') AND {here} AND asked_for IS NOT NULL
      AND due_at >= greatest(%(begin)s::timestamptz, now()) AND due_at < %(end)s
    ORDER BY due_at, id LIMIT %(limit)s
), late AS (
    SELECT {columns}, 1 AS part, count(*) OVER () AS examined FROM (
        SELECT * FROM publisher.publish_command
        WHERE state IN ('scheduled', 'waiting') AND {here}
          AND due_at >= %(begin)s AND due_at < least(%(end)s::timestamptz, now())
        ORDER BY due_at DESC, id DESC LIMIT %(limit)s
    ) found
), ended AS (
    SELECT {columns}, 1 AS part, count(*) OVER (PARTITION BY state) AS examined
    FROM unnest(%(states)s::text[]) AS wanted (wanted_state), LATERAL (
        SELECT * FROM publisher.publish_command
        WHERE workspace_id = %(workspace_id)s AND state = wanted_state AND trigger <> 'canary'
          AND due_at >= %(begin)s AND due_at < %(end)s
        ORDER BY due_at DESC, id DESC LIMIT %(limit)s
    ) found
), shown AS (
    SELECT {columns}, part FROM ahead
    UNION ALL
    (SELECT {columns}, part FROM (TABLE late UNION ALL TABLE ended) passed
     WHERE asked_for IS NOT NULL
     ORDER BY due_at DESC, id DESC LIMIT %(limit)s)
)
SELECT counted.passed, shown.*, v.title
FROM (SELECT max(examined) AS passed FROM (TABLE late UNION ALL TABLE ended) passed) counted
LEFT JOIN shown ON true LEFT JOIN video v ON v.id = shown.video_id
ORDER BY part, CASE part WHEN 0 THEN due_at END, due_at DESC, shown.id
""")

# The title of a video.
TITLE = "SELECT title FROM video WHERE id = %(video_id)s"

ENDED = [str(state) for state in CommandState if state.is_outcome]


@dataclass(frozen=True, slots=True, kw_only=True)
class CalendarCommand:
    """A command as a calendar shows it."""

    id: UUID
    action: str
    video_id: int
    workspace_id: int
    title: str | None
    """None: the video was deleted."""
    state: str
    reason: str | None
    detail: str | None
    accepted_at: datetime
    asked_for: datetime
    local_time: datetime | None
    time_zone: str | None
    fold: int | None
    due_at: datetime
    finished_at: datetime | None
    rescheduled_at: datetime | None

    @property
    def is_open(self) -> bool:
        """Whether it may still be changed."""
        return self.finished_at is None


@dataclass(frozen=True, slots=True, kw_only=True)
class CalendarRange:
    """The commands of a range, in the order of their due times."""

    commands: Sequence[CalendarCommand]
    is_complete: bool
    """Whether every command is included; otherwise, those ahead are preferred."""


def read_range(
    tx: Connection, *, workspace_id: int | None, begin: datetime, end: datetime, limit: int
) -> CalendarRange:
    """Read at most `limit` commands that are due from `begin` to before `end`."""
    values = {
        "workspace_id": workspace_id,
        "begin": begin,
        "end": end,
        "limit": limit + 1,
        "states": ENDED,
    }
    statement = LIST.format(columns=COLUMNS, here=in_workspace(workspace_id))
    with tx.cursor(row_factory=dict_row) as cursor:
        rows = cursor.execute(statement, values).fetchall()
    examined = rows[0]["passed"] or 0
    found = [to_command(_strip(row)) for row in rows if row["id"]]
    return CalendarRange(
        commands=sorted(found[:limit], key=lambda each: (each.due_at, each.id)),
        is_complete=len(found) <= limit and examined <= limit,
    )


def read_title(tx: Connection, video_id: int) -> str | None:
    """Read a video's title. None: it was deleted."""
    row = tx.execute(TITLE, {"video_id": video_id}).fetchone()
    return row[0] if row else None


def in_workspace(workspace_id: int | None) -> sql.SQL:
    """Return the condition on a command to be of this workspace, or of any."""
    return _ANYWHERE if workspace_id is None else _IN_WORKSPACE


def to_command(row: dict[str, Any]) -> CalendarCommand:
    """Return the command of a row with `COLUMNS` and the title."""
    return CalendarCommand(**row)


def _strip(row: dict[str, Any]) -> dict[str, Any]:
    del row["passed"], row["part"]
    return row
