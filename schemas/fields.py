"""Field types that all models share. They reject values that the database would reject later."""

import re
from datetime import datetime
from functools import lru_cache
from typing import Annotated, TypeVar
from zoneinfo import available_timezones

from pydantic import (
    AfterValidator,
    AnyUrl,
    AwareDatetime,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    NaiveDatetime,
    StringConstraints,
    TypeAdapter,
)

T = TypeVar("T")

INT32_MAX = 2**31 - 1
INT64_MAX = 2**63 - 1
FIRST_YEAR, LAST_YEAR = 1900, 9000
_INSTANT = re.compile(
    r"\d{4}-\d{2}-\d{2}[Tt ]\d{2}:\d{2}(:\d{2}(\.\d+)?)?([Zz]|[+-]\d{2}:\d{2})", re.ASCII
)
_LOCAL = re.compile(r"\d{4}-\d{2}-\d{2}[Tt ]\d{2}:\d{2}(:\d{2}(\.\d{1,6})?)?")


class Frozen(BaseModel):
    """An immutable model. Unknown fields are an error, so a misspelt field is never ignored."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)


def _check_storable(text: str) -> str:
    """Reject text that JSON allows and Postgres cannot store: NUL and lone surrogates."""
    if "\x00" in text:
        raise ValueError("must not contain the NUL character")
    try:
        text.encode()
    except UnicodeEncodeError:
        raise ValueError("must be valid Unicode, without lone surrogates") from None
    return text


_url = TypeAdapter(AnyUrl)


def _check_absolute(uri: str) -> str:
    """Reject a URI without a host (RFC 3986). The text is not normalized."""
    if not _url.validate_python(uri).host:
        raise ValueError("must be an absolute URI with a host")
    return uri


def _check_format(value: object) -> object:
    """Reject every value but an RFC 3339 time: pydantic would also accept a number."""
    if isinstance(value, datetime):
        return value
    if not isinstance(value, str) or not _INSTANT.fullmatch(value):
        raise ValueError("must be an RFC 3339 time with an offset, such as 2026-12-01T18:00:00Z")
    return value


def _check_local_format(value: object) -> object:
    """Reject numbers, dates without a time, and times with an offset."""
    if isinstance(value, datetime):
        return value
    if not isinstance(value, str) or not _LOCAL.fullmatch(value):
        raise ValueError("must be a wall-clock time without an offset, such as 2026-12-01T18:00")
    return value


def _check_zone(name: str) -> str:
    """Reject a time zone that this machine's time-zone data does not contain."""
    if name not in _read_zones():
        raise ValueError("must be an IANA time zone, such as Europe/Berlin")
    return name


@lru_cache(maxsize=1)
def _read_zones() -> frozenset[str]:
    return frozenset(available_timezones())


def _check_year(time: datetime) -> datetime:
    """Reject the first and last years: converting such a time to another zone can overflow."""
    if not FIRST_YEAR <= time.year <= LAST_YEAR:
        raise ValueError(f"must be in the years {FIRST_YEAR} to {LAST_YEAR}")
    return time


Text = Annotated[str, StringConstraints(strict=True), AfterValidator(_check_storable)]
Name = Annotated[
    str,
    StringConstraints(strict=True, min_length=1, max_length=255),
    AfterValidator(_check_storable),
]
"""Text of 1 to 255 characters."""
ShortText = Annotated[
    str, StringConstraints(strict=True, max_length=255), AfterValidator(_check_storable)
]
Uri = Annotated[
    str,
    StringConstraints(strict=True, max_length=2000),
    AfterValidator(_check_storable),
    AfterValidator(_check_absolute),
    Field(json_schema_extra={"format": "uri"}),
]
Time = Annotated[AwareDatetime, BeforeValidator(_check_format), AfterValidator(_check_year)]
"""An RFC 3339 time with an offset."""
LocalTime = Annotated[
    NaiveDatetime, BeforeValidator(_check_local_format), AfterValidator(_check_year)
]
"""A wall-clock time without an offset, `2026-12-01T18:00`. Another field holds its time zone."""
ZoneName = Annotated[
    str, StringConstraints(strict=True, max_length=64), AfterValidator(_check_zone)
]
"""An IANA time zone."""
Int32 = Annotated[int, Field(strict=True, ge=-(2**31), le=INT32_MAX)]
Id = Annotated[int, Field(strict=True, ge=1, le=INT64_MAX)]
Flag = Annotated[bool, Field(strict=True)]


def documented(kind: type[T]) -> type[T]:
    """Make pydantic validate a dataclass as strictly as Frozen, with docstrings as descriptions."""
    kind.__pydantic_config__ = ConfigDict(extra="forbid", use_attribute_docstrings=True)  # pyright: ignore[reportAttributeAccessIssue]
    return kind
