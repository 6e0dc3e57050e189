"""Clock changes: when a time zone's clocks go forward or back within a range, in words."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

from worker.rules.local_time import find_transition

STEP = timedelta(hours=6)
"""Between two looks at the offset. Clocks that change twice within this time are not noticed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ClockChange:
    """The clocks jump from one wall-clock time to another."""

    at: datetime
    """In UTC: the first second with the new offset."""
    before: datetime
    """The wall-clock time that the jump leaves."""
    after: datetime
    """The wall-clock time that it arrives at."""
    zone: str

    @property
    def is_forward(self) -> bool:
        """Whether wall-clock times are skipped; otherwise they occur twice."""
        return self.after > self.before

    def describe(self) -> str:
        """Say it: `Sun 28 March 2027: clocks go forward 02:00 → 03:00 in Europe/Berlin`."""
        direction = "forward" if self.is_forward else "back"
        day = f"{self.before:%a} {self.before.day} {self.before:%B %Y}"
        return (
            f"{day}: clocks go {direction} {self.before:%H:%M} → {self.after:%H:%M} in {self.zone}"
        )


def find_clock_changes(zone: str, begin: datetime, end: datetime) -> list[ClockChange]:
    """Return the changes from `begin` to before `end`, in order."""
    rules = ZoneInfo(zone)
    return [
        _to_change(find_transition(rules, low, high), rules, zone)
        for low, high in _list_steps(begin.astimezone(UTC), end.astimezone(UTC))
        if low.astimezone(rules).utcoffset() != high.astimezone(rules).utcoffset()
    ]


def _list_steps(begin: datetime, end: datetime) -> Iterator[tuple[datetime, datetime]]:
    low, last = begin - timedelta(seconds=1), end - timedelta(seconds=1)
    while low < last:
        high = min(low + STEP, last)
        yield low, high
        low = high


def _to_change(at: datetime, rules: ZoneInfo, zone: str) -> ClockChange:
    after = at.astimezone(rules)
    jump = (after.utcoffset() or timedelta()) - (
        (at - timedelta(seconds=1)).astimezone(rules).utcoffset() or timedelta()
    )
    shown = after.replace(tzinfo=None, fold=0)
    return ClockChange(at=at, before=shown - jump, after=shown, zone=zone)
