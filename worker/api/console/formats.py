"""Formats: numbers, times and durations as people read them. Pages show times in UTC; a script
shows them in the browser's time zone.
"""

from datetime import UTC, datetime
from typing import Any

from markupsafe import Markup

MINUTE, HOUR, DAY = 60, 3600, 86_400


def to_number(value: int, most: int | None = None) -> str:
    """Return a number with separators; one that reached the limit of its count with a plus."""
    return f"{value:,}+" if most is not None and value >= most else f"{value:,}"


def to_duration(seconds: float) -> str:
    """Return a duration in its two largest units: `4 ms`, `1.2 s`, `3 min 20 s`, `2 d 4 h`."""
    seconds = max(seconds, 0)
    if seconds < 1:
        return f"{seconds * 1000:.0f} ms"
    if seconds < 10:  # noqa: PLR2004
        return f"{seconds:.1f} s"
    for size, unit, smaller, small_unit in (
        (DAY, "d", HOUR, "h"),
        (HOUR, "h", MINUTE, "min"),
        (MINUTE, "min", 1, "s"),
    ):
        if seconds >= size:
            rest = int(seconds % size // smaller)
            whole = f"{seconds // size:.0f} {unit}"
            return f"{whole} {rest} {small_unit}" if rest else whole
    return f"{seconds:.0f} s"


def to_time(moment: datetime | None, style: str = "full") -> Markup:
    """Return a moment as an element that a script can show in another zone.

    `style`: `full` has date and time, `clock` the time alone.
    """
    if moment is None:
        return Markup("&ndash;")
    utc = moment.astimezone(UTC)
    text = f"{utc:%H:%M:%S}" if style == "clock" else f"{utc:%Y-%m-%d %H:%M:%S} UTC"
    whole = f"{utc:%Y-%m-%dT%H:%M:%S.%fZ}"
    return Markup(f'<time datetime="{whole}" data-style="{style}">{text}</time>')  # noqa: S704 - none of it is a user's


def to_event_style(kind: str) -> str:
    """Return the style of an event's type."""
    return _STYLES.get(kind.rpartition(".")[2], "calm")


_STYLES = {
    "published": "good",
    "publish_failed": "bad",
    "publish_rejected": "warn",
    "publish_expired": "warn",
    "endpoint_disabled": "bad",
}
FILTERS: dict[str, Any] = {
    "number": to_number,
    "duration": to_duration,
    "time": to_time,
    "event_style": to_event_style,
}
