"""Times as text: RFC 3339 with an offset, and wall-clock times without one, with their patterns."""

import re
from datetime import UTC, datetime
from functools import lru_cache
from typing import Annotated, Any
from zoneinfo import available_timezones

from pydantic import (
    AfterValidator,
    AwareDatetime,
    BeforeValidator,
    NaiveDatetime,
    StringConstraints,
    WithJsonSchema,
)

from publish_worker_client.time_patterns import (
    DATE,
    FIRST_YEAR,
    LAST_YEAR,
    LOCAL,
    MINUTE,
    SECOND,
)
from schemas.json_schema import Described

_OFFSET = "(?:[Zz]|[+-](?:[01][0-9]|2[0-3]):[0-5][0-9])"
INSTANT = f"^{MINUTE}(?:{SECOND})?{_OFFSET}$"
CURSOR = INSTANT.replace(DATE, f"(?:{DATE}|{FIRST_YEAR - 1}-12-31|{LAST_YEAR + 1}-01-01)")
"""As INSTANT, and what its first and last times are in UTC, as our own links have them."""
RFC_3339 = f"^{MINUTE}{SECOND}{_OFFSET}$"
"""As INSTANT, and the seconds are not optional."""
_YEARS = f"in the years {FIRST_YEAR} to {LAST_YEAR}"


def _require_pattern(pattern: str, expected: str) -> BeforeValidator:
    """Reject every value but a time of this pattern: pydantic would also accept a number."""
    compiled = re.compile(pattern)

    def check(value: object) -> object:
        if isinstance(value, datetime) or (isinstance(value, str) and compiled.fullmatch(value)):
            return value
        raise ValueError(f"must be {expected}, {_YEARS}")

    return BeforeValidator(check)


def _check_year(time: datetime) -> datetime:
    """Reject the first and last years: converting such a time to another zone can overflow.

    The pattern of a text has checked its year. In UTC it may be the year before or after.
    """
    if not FIRST_YEAR - 1 <= time.year <= LAST_YEAR + 1:
        raise ValueError(f"must be {_YEARS}")
    return time


def _to_utc(time: datetime) -> datetime:
    """Convert: Postgres does not read offsets of sixteen hours or more."""
    return time.astimezone(UTC)


def _check_zone(name: str) -> str:
    """Reject a time zone that this machine's time-zone data does not contain."""
    if name not in list_zones():
        raise ValueError("must be an IANA time zone, such as Europe/Berlin")
    return name


@lru_cache(maxsize=1)
def list_zones() -> frozenset[str]:
    """Return IANA's names. Others name files of the machine, as `localtime` and `posix/UTC` do."""
    return frozenset(
        name for name in available_timezones() if name[0].isupper() and name != "Factory"
    )


def _read_as_instant(pattern: str) -> tuple[Any, ...]:
    """Return the annotations of a time of this pattern."""
    expected = "an RFC 3339 time with an offset, such as 2026-12-01T18:00:00Z"
    return (
        _require_pattern(pattern, expected),
        AfterValidator(_check_year),
        AfterValidator(_to_utc),
        Described({"pattern": pattern}),
    )


Time = Annotated[AwareDatetime, *_read_as_instant(INSTANT)]
"""An RFC 3339 time with an offset, in UTC once it is read."""
CursorTime = Annotated[AwareDatetime, *_read_as_instant(CURSOR)]
"""The time in the link of the next page."""
ReportTime = Annotated[AwareDatetime, *_read_as_instant(RFC_3339)]
"""A time on a pipeline's clock."""
LocalTime = Annotated[
    NaiveDatetime,
    _require_pattern(LOCAL, "a wall-clock time without an offset, such as 2026-12-01T18:00"),
    AfterValidator(_check_year),
    WithJsonSchema({"type": "string", "pattern": LOCAL}),
]
"""A wall-clock time without an offset, `2026-12-01T18:00`. Another field holds its time zone."""
ZoneName = Annotated[
    str,
    StringConstraints(strict=True, max_length=64, pattern="^[A-Z][A-Za-z0-9_+/-]*$"),
    AfterValidator(_check_zone),
]
"""An IANA time zone."""
