"""Pages of the calendar in SQL: a range's commands in the order of their times, and their numbers.

The number of rows that a statement reads is bounded. `workspace_id` None: every workspace, of which
only open commands are read.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple
from uuid import UUID

from psycopg import sql
from psycopg.rows import dict_row

from db.commands.calendar import COLUMNS, ENDED, CalendarCommand, in_workspace, to_command
from db.session import Connection

EXAMINED = 2_000
"""Commands of a state that a page looks at: between those with a time are others, without one."""
MOST_COUNTED = 500
"""Of each time span, and of each state that has ended."""
MOST_OF_VIDEOS = 2_000

# The commands with a time that follow a place in a range: the first ones of each state, in order.
# `n` is a command's number among those that were looked at; the last one of these is included, so
# that the next page goes on from there.
PAGE = sql.SQL("""
WITH open AS (
    SELECT {columns}, n FROM (
        SELECT *, row_number() OVER (ORDER BY due_at, id) AS n FROM publisher.publish_command
        WHERE state IN ('scheduled', 'waiting') AND {here}
          AND due_at < %(end)s AND (due_at, id) > (%(from_at)s, %(from_id)s)
        ORDER BY due_at, id LIMIT %(examined)s
    ) found
    WHERE asked_for IS NOT NULL OR n = %(examined)s ORDER BY due_at, id LIMIT %(limit)s
), ended AS (
    SELECT {columns}, n FROM unnest(%(states)s::text[]) AS wanted (wanted_state), LATERAL (
        SELECT * FROM (
            SELECT *, row_number() OVER (ORDER BY due_at, id) AS n FROM publisher.publish_command
            WHERE workspace_id = %(workspace_id)s AND state = wanted_state AND trigger <> 'canary'
              AND due_at < %(end)s AND (due_at, id) > (%(from_at)s, %(from_id)s)
            ORDER BY due_at, id LIMIT %(examined)s
        ) found
        WHERE asked_for IS NOT NULL OR n = %(examined)s ORDER BY due_at, id LIMIT %(limit)s
    ) first
), page AS (
    SELECT * FROM (TABLE open UNION ALL TABLE ended) found ORDER BY due_at, id LIMIT %(limit)s
)
SELECT page.*, v.title FROM page LEFT JOIN video v ON v.id = page.video_id ORDER BY due_at, page.id
""")

# How many commands with a time are due in each time span; at most a limit is looked at.
COUNTS = sql.SQL("""
SELECT span.begins_at, open.count + coalesce(ended.count, 0) AS count,
       open.is_bounded OR coalesce(ended.is_bounded, false) AS is_bounded
FROM unnest(%(begins)s::timestamptz[], %(ends)s::timestamptz[]) AS span (begins_at, ends_at),
LATERAL (
    SELECT count(asked_for), count(*) = %(most)s AS is_bounded FROM (
        SELECT asked_for FROM publisher.publish_command
        WHERE state IN ('scheduled', 'waiting') AND {here}
          AND due_at >= begins_at AND due_at < ends_at
        LIMIT %(most)s
    ) found
) open LEFT JOIN LATERAL (
    SELECT sum(each.count)::bigint AS count, bool_or(each.is_bounded) AS is_bounded
    FROM unnest(%(states)s::text[]) AS wanted (wanted_state), LATERAL (
        SELECT count(asked_for), count(*) = %(most)s AS is_bounded FROM (
            SELECT asked_for FROM publisher.publish_command
            WHERE workspace_id = %(workspace_id)s AND state = wanted_state AND trigger <> 'canary'
              AND due_at >= begins_at AND due_at < ends_at
            LIMIT %(most)s
        ) found
    ) each
) ended ON true
WHERE open.count + coalesce(ended.count, 0) > 0
ORDER BY span.begins_at
""")

# The open commands with a time of some videos in a range: those that a page's may conflict with.
OF_VIDEOS = """
SELECT id, video_id, action, due_at FROM publisher.publish_command
WHERE video_id = ANY(%(videos)s) AND state IN ('scheduled', 'waiting') AND trigger <> 'canary'
  AND asked_for IS NOT NULL AND due_at >= %(begin)s AND due_at < %(end)s
ORDER BY due_at, id LIMIT %(limit)s
"""


class Place(NamedTuple):
    """A place in the order of times: the page after it begins with what is above it."""

    due_at: datetime
    id: UUID


@dataclass(frozen=True, slots=True, kw_only=True)
class CalendarPage:
    """Commands in the order of their due times."""

    commands: Sequence[CalendarCommand]
    next: Place | None
    """Where the next page begins. None: this is the last one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SpanCount:
    """The number of commands of a time span."""

    begins_at: datetime
    count: int
    is_bounded: bool
    """Whether there may be more: not all were looked at."""


class OpenCommand(NamedTuple):
    """An open command, as far as conflicts depend on it."""

    id: UUID
    video_id: int
    action: str
    due_at: datetime


def read_page(
    tx: Connection, *, workspace_id: int | None, after: Place, end: datetime, limit: int
) -> CalendarPage:
    """Read at most `limit` commands that follow a place and are due before `end`."""
    values = {
        "workspace_id": workspace_id,
        "from_at": after.due_at,
        "from_id": after.id,
        "end": end,
        "states": ENDED,
        "examined": EXAMINED,
        "limit": limit + 1,
    }
    statement = PAGE.format(columns=COLUMNS, here=in_workspace(workspace_id))
    with tx.cursor(row_factory=dict_row) as cursor:
        return _to_page(cursor.execute(statement, values).fetchall(), limit)


def count_in_spans(
    tx: Connection, *, workspace_id: int | None, bounds: Sequence[datetime]
) -> list[SpanCount]:
    """Count the commands that are due from each bound to before the next; without empty spans."""
    values = {
        "workspace_id": workspace_id,
        "begins": list(bounds[:-1]),
        "ends": list(bounds[1:]),
        "states": [] if workspace_id is None else ENDED,
        "most": MOST_COUNTED,
    }
    with tx.cursor(row_factory=dict_row) as cursor:
        rows = cursor.execute(COUNTS.format(here=in_workspace(workspace_id)), values)
        return [SpanCount(**row) for row in rows]


def read_open(
    tx: Connection, *, videos: Sequence[int], begin: datetime, end: datetime
) -> list[OpenCommand]:
    """Read the open commands with a time of these videos in a range."""
    values = {"videos": list(videos), "begin": begin, "end": end, "limit": MOST_OF_VIDEOS}
    return [OpenCommand(*row) for row in tx.execute(OF_VIDEOS, values)]


def _to_page(rows: list[dict[str, Any]], limit: int) -> CalendarPage:
    """A state of which no more was looked at ends the page: what follows may lie between."""
    found: list[CalendarCommand] = []
    for row in rows:
        if len(found) == limit:
            return CalendarPage(commands=found, next=Place(found[-1].due_at, found[-1].id))
        place, is_last_examined = Place(row["due_at"], row["id"]), row.pop("n") == EXAMINED
        if row["asked_for"] is not None:
            found.append(to_command(row))
        if is_last_examined:
            return CalendarPage(commands=found, next=place)
    return CalendarPage(commands=found, next=None)
