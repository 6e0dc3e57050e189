"""The values that every boundary shares; what they refuse would fail later, in a database."""

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
    """A value: never changed once made; unknown fields are refused, so no misspelt one is lost."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)


def _storable(text: str) -> str:
    """Refuse what JSON can spell but Postgres cannot store: NUL and lone surrogates."""
    if "\x00" in text:
        raise ValueError("must not contain the NUL character")
    try:
        text.encode()
    except UnicodeEncodeError:
        raise ValueError("must be valid Unicode, without lone surrogates") from None
    return text


_url = TypeAdapter(AnyUrl)


def _absolute(uri: str) -> str:
    """An absolute URI with a host (RFC 3986), kept as it was spelt."""
    if not _url.validate_python(uri).host:
        raise ValueError("must be an absolute URI with a host")
    return uri


def _written(value: object) -> object:
    """Refuse numbers where a time is asked for: RFC 3339 or nothing."""
    if isinstance(value, datetime):
        return value
    if not isinstance(value, str) or not _INSTANT.fullmatch(value):
        raise ValueError("must be an RFC 3339 time with an offset, such as 2026-12-01T18:00:00Z")
    return value


def _written_local(value: object) -> object:
    """Refuse numbers, dates without a time, and what has an offset."""
    if isinstance(value, datetime):
        return value
    if not isinstance(value, str) or not _LOCAL.fullmatch(value):
        raise ValueError("must be a wall-clock time without an offset, such as 2026-12-01T18:00")
    return value


def _zone(name: str) -> str:
    """Refuse what the time-zone data of this machine does not know."""
    if name not in _zones():
        raise ValueError("must be an IANA time zone, such as Europe/Berlin")
    return name


@lru_cache(maxsize=1)
def _zones() -> frozenset[str]:
    return frozenset(available_timezones())


def _within_reach(time: datetime) -> datetime:
    """Refuse the first and last years, where a time in one zone does not exist in another."""
    if not FIRST_YEAR <= time.year <= LAST_YEAR:
        raise ValueError(f"must lie in the years {FIRST_YEAR} to {LAST_YEAR}")
    return time


Text = Annotated[str, StringConstraints(strict=True), AfterValidator(_storable)]
Name = Annotated[
    str, StringConstraints(strict=True, min_length=1, max_length=255), AfterValidator(_storable)
]
"""Text of 1 to 255 characters."""
ShortText = Annotated[
    str, StringConstraints(strict=True, max_length=255), AfterValidator(_storable)
]
Uri = Annotated[
    str,
    StringConstraints(strict=True, max_length=2000),
    AfterValidator(_storable),
    AfterValidator(_absolute),
    Field(json_schema_extra={"format": "uri"}),
]
Time = Annotated[AwareDatetime, BeforeValidator(_written), AfterValidator(_within_reach)]
"""RFC 3339 with an offset; a naive time is refused where it enters."""
LocalTime = Annotated[NaiveDatetime, BeforeValidator(_written_local), AfterValidator(_within_reach)]
"""Wall-clock time without an offset, `2026-12-01T18:00`; the zone is said beside it."""
ZoneName = Annotated[str, StringConstraints(strict=True, max_length=64), AfterValidator(_zone)]
"""An IANA time zone."""
Int32 = Annotated[int, Field(strict=True, ge=-(2**31), le=INT32_MAX)]
Id = Annotated[int, Field(strict=True, ge=1, le=INT64_MAX)]
Flag = Annotated[bool, Field(strict=True)]


def documented(kind: type[T]) -> type[T]:
    """Let pydantic read a dataclass as strictly as our models, with its docstrings for fields."""
    kind.__pydantic_config__ = ConfigDict(extra="forbid", use_attribute_docstrings=True)  # pyright: ignore[reportAttributeAccessIssue]
    return kind
