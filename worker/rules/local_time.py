"""Wall-clock times: which instant a local time means, by the rules of its IANA zone.

A local time that does not exist is refused with the two nearest that do; one that exists twice is
refused unless `fold` says which (PEP 495).
"""

import zoneinfo
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from hashlib import sha256
from importlib import import_module, resources
from pathlib import Path
from zoneinfo import ZoneInfo

from schemas.command import CommandChange, PublicationTime, WithdrawalTime

_SECOND = timedelta(seconds=1)


class LocalTimeError(ValueError):
    """The local time does not name one instant."""

    code = "local_time"


class NonexistentTime(LocalTimeError):
    """The clocks skip this local time; `before` and `after` are the nearest that exist."""

    code = "nonexistent_time"

    def __init__(self, local: datetime, zone: str, before: datetime, after: datetime) -> None:
        super().__init__(
            f"{_to_text(local)} does not exist in {zone}, where the clocks skip it; "
            f"the nearest times that do are {_to_text(before)} and {_to_text(after)}"
        )
        self.before = before
        self.after = after


class AmbiguousTime(LocalTimeError):
    """The clocks show this local time twice, and `fold` does not choose one."""

    code = "ambiguous_time"

    def __init__(self, local: datetime, zone: str, first: datetime, second: datetime) -> None:
        super().__init__(
            f"{_to_text(local)} exists twice in {zone}; set fold 0 for the first "
            f"({_to_text(first)}) or fold 1 for the second ({_to_text(second)})"
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Moment:
    """A time that a caller requested, and the form of the request."""

    at: datetime
    local_time: datetime | None = None
    time_zone: str | None = None
    fold: int | None = None
    zone_digest: str | None = None


def to_publication_moment(request: PublicationTime | CommandChange) -> Moment | None:
    """Return when to publish; None: at once. Raises LocalTimeError."""
    return _to_moment(request.publish_at, request.publish_at_local, request)


def to_withdrawal_moment(request: WithdrawalTime) -> Moment | None:
    """Return when to unpublish; None: the request does not say. Raises LocalTimeError."""
    return _to_moment(request.unpublish_at, request.unpublish_at_local, request)


def to_instant(local: datetime, zone: str, fold: int | None = None) -> datetime:
    """Return the instant, in UTC, that a naive local time means. Raises LocalTimeError."""
    rules = ZoneInfo(zone)
    first, second = (local.replace(tzinfo=rules, fold=each).astimezone(UTC) for each in (0, 1))
    if first == second:
        return first
    if first > second:  # PEP 495: in a gap, fold 0 has the offset before it and so lies after it
        transition = find_transition(rules, second, first)
        before, after = (transition - _SECOND).astimezone(rules), transition.astimezone(rules)
        raise NonexistentTime(local, zone, _to_naive(before), _to_naive(after))
    if fold is None:
        shown = (each.astimezone(rules) for each in (first, second))
        raise AmbiguousTime(local, zone, *shown)
    return second if fold else first


def recompute_instant(local: datetime, zone: str, fold: int | None) -> datetime:
    """Return the instant that a local time means after its zone's rules have changed.

    The time was accepted once, so it is never refused. Where the clocks now skip it, the offset
    before the skip applies; where it now exists twice, `fold` chooses (None: the first).
    """
    return local.replace(tzinfo=ZoneInfo(zone), fold=fold or 0).astimezone(UTC)


def compute_zone_digest(zone: str) -> str:
    """Identify a version of a zone's rules: `2026a:` and a digest of its data.

    The prefix is the release of the time-zone data, empty if unknown: a process with an older
    release must not recompute what a newer one has computed.
    """
    rules, release = _read_rules(zone)
    return f"{release}:{sha256(rules).hexdigest()[:16]}"


def find_tzdata_release(digest: str) -> str:
    """Return the release of the time-zone data, such as `2026a`, that a digest names."""
    return digest.partition(":")[0]


def _to_moment(
    at: datetime | None, local: datetime | None, request: WithdrawalTime
) -> Moment | None:
    if at is not None:
        return Moment(at=at)
    if local is None or request.time_zone is None:
        return None
    zone = request.time_zone
    return Moment(
        at=to_instant(local, zone, request.fold),
        local_time=local,
        time_zone=zone,
        fold=request.fold,
        zone_digest=get_zone_digest(zone),
    )


@lru_cache(maxsize=1024)
def get_zone_digest(zone: str) -> str:
    """Return the digest of the rules that this process uses; `zoneinfo` caches them as well."""
    return compute_zone_digest(zone)


def find_transition(rules: ZoneInfo, before: datetime, after: datetime) -> datetime:
    """Return the first second, after `before` and up to `after`, with the offset of `after`."""
    offset = after.astimezone(rules).utcoffset()
    low, high = int(before.timestamp()), int(after.timestamp())
    while high - low > 1:
        middle = (low + high) // 2
        if datetime.fromtimestamp(middle, UTC).astimezone(rules).utcoffset() == offset:
            high = middle
        else:
            low = middle
    return datetime.fromtimestamp(high, UTC)


def _read_rules(zone: str) -> tuple[bytes, str]:
    """Return the zone's TZif data and its release, from the system or else the wheel `tzdata`."""
    for folder in zoneinfo.TZPATH:
        path = Path(folder) / zone
        if path.is_file():
            return path.read_bytes(), _read_release(Path(folder))
    package, _, name = f"tzdata.zoneinfo.{zone.replace('/', '.')}".rpartition(".")
    rules = resources.files(package).joinpath(name).read_bytes()
    return rules, str(import_module("tzdata").IANA_VERSION)


def _read_release(folder: Path) -> str:
    """Return the release in the first line of `tzdata.zi`, `# version 2026a`; "" if unknown."""
    try:
        with (folder / "tzdata.zi").open() as source:
            words = source.readline().split()
    except OSError:
        return ""
    return words[2] if words[:2] == ["#", "version"] and len(words) > 2 else ""  # noqa: PLR2004


def _to_naive(time: datetime) -> datetime:
    return time.replace(tzinfo=None, fold=0)


def _to_text(time: datetime) -> str:
    return time.isoformat(timespec="seconds")
