"""The range that the calendar shows: a month, a week, a day or 30 days, in any time zone."""

from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from enum import StrEnum
from math import ceil
from typing import Annotated, Any
from urllib.parse import urlencode
from uuid import UUID
from zoneinfo import ZoneInfo

from pydantic import AwareDatetime, Field

from schemas.fields import INT64_MAX, Frozen, ShortText
from schemas.times import ZoneName
from worker.api.console.session import PATH

CALENDAR = f"{PATH}/calendar/"
WEEK = 7
AGENDA_DAYS = 30
HOUR = timedelta(hours=1)
Day = Annotated[date, Field(ge=date(1901, 1, 1), le=date(8999, 12, 31))]


class View(StrEnum):
    """How much the calendar shows, and how."""

    MONTH = "month"
    WEEK = "week"
    DAY = "day"
    AGENDA = "agenda"
    """A list of 30 days."""


class CalendarQuery(Frozen):
    """The parameters of the calendar's address."""

    view: View = View.MONTH
    date: Day | None = None
    """A day of the range. None: today."""
    zone: ZoneName | None = None
    """None: UTC, until a script has chosen the browser's."""
    workspace: Annotated[int, Field(ge=1, le=INT64_MAX)] | None = None
    """For keys that see every workspace."""
    from_at: AwareDatetime | None = None
    """Where the page of the list begins: after the command `from_id` that is due at this time."""
    from_id: UUID = UUID(int=0)
    done: ShortText | None = None
    """What has just been done to `command`: `moved`, `scheduled` or `cancelled`."""
    command: UUID | None = None
    undo_at: ShortText | None = None
    undo_local: ShortText | None = None
    undo_zone: ShortText | None = None
    undo_fold: ShortText | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ShownRange:
    """The days from `first` to before `last`; `begin` and `end` are their instants."""

    view: View
    day: date
    zone: str
    first: date
    last: date
    workspace: int | None
    from_at: datetime | None
    from_id: UUID

    @property
    def bounds(self) -> list[datetime]:
        """When the range begins, and when each of its days ends; where a grid of hours shows it,
        each of its hours.
        """
        if self.view in (View.MONTH, View.AGENDA):
            days = (self.last - self.first).days + 1
            midnights = (self.first + timedelta(days=day) for day in range(days))
            return [_to_midnight(day, self.zone) for day in midnights]
        hours = ceil((self.end - self.begin) / HOUR)
        return [min(self.begin + hour * HOUR, self.end) for hour in range(hours + 1)]

    @property
    def here(self) -> str:
        """The address of this page of the list."""
        return self.to_url(**self._page)

    @property
    def commands(self) -> str:
        """The address of what a script shows."""
        return self.to_url(f"{CALENDAR}commands", **self._page)

    @property
    def _page(self) -> dict[str, Any]:
        if self.from_at is None:
            return {}
        return {"from_at": self.from_at.isoformat(), "from_id": self.from_id}

    @property
    def begin(self) -> datetime:
        """When the first day begins."""
        return _to_midnight(self.first, self.zone)

    @property
    def end(self) -> datetime:
        """When the last day has ended."""
        return _to_midnight(self.last, self.zone)

    @property
    def title(self) -> str:
        """Name the range: `November 2026`, `30 November to 6 December 2026`."""
        if self.view is View.MONTH:
            return f"{self.day:%B %Y}"
        until = self.last - timedelta(days=1)
        if self.view is View.DAY:
            return f"{self.day:%A} {self.day.day} {self.day:%B %Y}"
        year = f" {self.first.year}" if self.first.year != until.year else ""
        return f"{self.first.day} {self.first:%B}{year} to {until.day} {until:%B %Y}"

    @property
    def offset(self) -> str:
        """The zone's offset now, `+01:00`: where the widget draws the line of the present."""
        text = f"{datetime.now(ZoneInfo(self.zone)):%z}"
        return f"{text[:3]}:{text[3:5]}"

    @property
    def previous(self) -> str:
        """The address of the range before this one."""
        if self.view is View.MONTH:
            return self.to_url(day=(self.day.replace(day=1) - timedelta(days=1)).replace(day=1))
        return self.to_url(day=self.day - (self.last - self.first))

    @property
    def next(self) -> str:
        """The address of the range after this one."""
        if self.view is View.MONTH:
            return self.to_url(day=(self.day.replace(day=1) + timedelta(days=31)).replace(day=1))
        return self.to_url(day=self.day + (self.last - self.first))

    def to_url(self, path: str = CALENDAR, day: date | None = None, **changed: Any) -> str:
        """Return an address with this range; `changed` are other parameters."""
        values: dict[str, Any] = {
            "view": self.view,
            "date": day or self.day,
            "zone": self.zone,
            "workspace": self.workspace,
            **changed,
        }
        given = {name: str(value) for name, value in values.items() if value is not None}
        return f"{path}?{urlencode(given)}"

    def to_local(self, moment: datetime) -> datetime:
        """Return a moment on the zone's clocks."""
        return moment.astimezone(ZoneInfo(self.zone))


def to_range(query: CalendarQuery, workspace_id: int | None) -> ShownRange:
    """Return the range of a query of a key that is confined to `workspace_id` (None: to none)."""
    zone = query.zone or "UTC"
    day = query.date or datetime.now(ZoneInfo(zone)).date()
    first, last = _to_days(query.view, day)
    return ShownRange(
        view=query.view,
        day=day,
        zone=zone,
        first=first,
        last=last,
        workspace=query.workspace if workspace_id is None else None,
        from_at=query.from_at,
        from_id=query.from_id,
    )


def _to_days(view: View, day: date) -> tuple[date, date]:
    """Return the first day, and the one after the last; weeks begin on Monday."""
    match view:
        case View.MONTH:
            first = _to_monday(day.replace(day=1))
            following = (day.replace(day=1) + timedelta(days=31)).replace(day=1)
            return first, _to_monday(following + timedelta(days=WEEK - 1))
        case View.WEEK:
            return _to_monday(day), _to_monday(day) + timedelta(days=WEEK)
        case View.DAY:
            return day, day + timedelta(days=1)
        case View.AGENDA:
            return day, day + timedelta(days=AGENDA_DAYS)


def _to_monday(day: date) -> date:
    return day - timedelta(days=day.weekday())


def _to_midnight(day: date, zone: str) -> datetime:
    """Return when a day begins. Where the clocks skip midnight, the offset before applies."""
    return datetime.combine(day, time.min, ZoneInfo(zone)).astimezone(UTC)
