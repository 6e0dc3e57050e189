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
from db.session import transaction
from worker.operations.calendar_feeds import find_workspace
from worker.rules.clock_changes import ClockChange, find_clock_changes
from worker.rules.schedule_conflicts import Planned, find_conflicts

MOST = 500
"""Commands that a page shows."""
MOST_IN_FEED = 2_000
FEED_BACK, FEED_AHEAD = timedelta(days=30), timedelta(days=366)
"""The range of a feed, from now."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Schedule:
    """The commands of a range."""

    commands: Sequence[CalendarCommand]
    is_complete: bool
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
    engine: Engine, begin: datetime, end: datetime, zone: str, workspace_id: int | None
) -> Schedule:
    """Return the commands that are due from `begin` to before `end`, and what concerns them."""
    found = _read(engine, begin, end, workspace_id, MOST)
    return Schedule(
        commands=found.commands,
        is_complete=found.is_complete,
        conflicts=find_conflicts(_to_planned(each) for each in found.commands if each.is_open),
        clock_changes=find_clock_changes(zone, begin, end),
    )


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


def _to_planned(command: CalendarCommand) -> Planned:
    return Planned(
        id=command.id, video_id=command.video_id, action=command.action, due_at=command.due_at
    )
