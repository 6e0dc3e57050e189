"""The calendar: scheduled publications and withdrawals of a range, and the changes of clocks in it.

In every function, `workspace_id` is the caller's (None: it sees all).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from uuid import UUID

from sqlalchemy import Engine

from db.commands import calendar
from db.commands.calendar import CalendarCommand, CalendarRange
from db.commands.calendar_pages import (
    Place,
    SpanCount,
    count_in_spans,
    read_open,
    read_page,
)
from db.session import transaction
from worker.operations.calendar_feeds import find_workspace
from worker.rules.clock_changes import ClockChange, find_clock_changes
from worker.rules.schedule_conflicts import Planned, find_conflicts

PAGE = 100
"""Commands that a page shows. A browser takes seconds to draw more of them in a grid."""
FIRST_ID = UUID(int=0)
MOST_IN_FEED = 2_000
FEED_BACK, FEED_AHEAD = timedelta(days=30), timedelta(days=366)
"""The range of a feed, from now."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Schedule:
    """The commands of a range."""

    commands: Sequence[CalendarCommand]
    """A page of them."""
    next: Place | None
    """Where the next page begins."""
    is_complete: bool
    """Whether the page has all commands of the range."""
    counts: Sequence[SpanCount]
    """The numbers of commands in each time span, if the page does not have them all."""
    conflicts: dict[UUID, str]
    """The open commands that conflict with another one of the range, with the reason."""
    clock_changes: Sequence[ClockChange]


@dataclass(frozen=True, slots=True, kw_only=True)
class Feed:
    """What an iCal feed shows."""

    workspace_id: int
    commands: Sequence[CalendarCommand]
    is_complete: bool


def read_schedule(
    engine: Engine,
    bounds: Sequence[datetime],
    zone: str,
    workspace_id: int | None,
    after: Place | None = None,
) -> Schedule:
    """Return the commands of a range in pages, and what concerns them.

    `bounds`: when the range begins, when each of its time spans ends. `after`: where the page
    begins; None: at the first one, or today if there are several pages.
    """
    begin, end = bounds[0], bounds[-1]
    with transaction(engine) as tx:
        page = read_page(
            tx, workspace_id=workspace_id, after=Place(begin, FIRST_ID), end=end, limit=PAGE
        )
        is_complete, counts = page.next is None, []
        if not is_complete:
            counts = count_in_spans(tx, workspace_id=workspace_id, bounds=bounds)
            is_within = after is not None and begin <= after.due_at < end
            start = after if after and is_within else Place(_find_start(bounds), FIRST_ID)
            page = read_page(tx, workspace_id=workspace_id, after=start, end=end, limit=PAGE)
        videos = {each.video_id for each in page.commands if each.is_open}
        planned = read_open(tx, videos=sorted(videos), begin=begin, end=end)
    return Schedule(
        commands=page.commands,
        next=page.next,
        is_complete=is_complete,
        counts=counts,
        conflicts=find_conflicts(Planned(**each._asdict()) for each in planned),
        clock_changes=find_clock_changes(zone, begin, end),
    )


def _find_start(bounds: Sequence[datetime]) -> datetime:
    """Return when the present time span began; elsewhere, when the range begins."""
    now = datetime.now(UTC)
    if not bounds[0] <= now < bounds[-1]:
        return bounds[0]
    return max(bound for bound in bounds if bound <= now)


def read_feed(engine: Engine, token: str) -> Feed | None:
    """Return the commands of the feed with this token. None: unknown or revoked."""
    workspace_id = find_workspace(engine, token)
    if workspace_id is None:
        return None
    now = datetime.now(UTC)
    found = _read(engine, now - FEED_BACK, now + FEED_AHEAD, workspace_id, MOST_IN_FEED)
    return Feed(workspace_id=workspace_id, commands=found.commands, is_complete=found.is_complete)


def read_title(engine: Engine, video_id: int) -> str | None:
    """Return a video's title. None: it was deleted."""
    with transaction(engine) as tx:
        return calendar.read_title(tx, video_id)


def _read(
    engine: Engine, begin: datetime, end: datetime, workspace_id: int | None, most: int
) -> CalendarRange:
    with transaction(engine) as tx:
        return calendar.read_range(tx, workspace_id=workspace_id, begin=begin, end=end, limit=most)
