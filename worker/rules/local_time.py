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
            f"{_shown(local)} does not exist in {zone}, where the clocks skip it; "
            f"the nearest times that do are {_shown(before)} and {_shown(after)}"
        )
        self.before = before
        self.after = after


class AmbiguousTime(LocalTimeError):
    """The clocks show this local time twice, and `fold` does not choose one."""

    code = "ambiguous_time"

    def __init__(self, local: datetime, zone: str, first: datetime, second: datetime) -> None:
        super().__init__(
            f"{_shown(local)} exists twice in {zone}; say fold 0 for the first "
            f"({_shown(first)}) or fold 1 for the second ({_shown(second)})"
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Moment:
    """A time that a caller asked for, and how it was said."""

    at: datetime
    local_time: datetime | None = None
    time_zone: str | None = None
    fold: int | None = None
    zone_digest: str | None = None


def publication_moment(said: PublicationTime | CommandChange) -> Moment | None:
    """When to publish; None: at once. Raises LocalTimeError."""
    return _moment(said.publish_at, said.publish_at_local, said)


def withdrawal_moment(said: WithdrawalTime) -> Moment | None:
    """When to unpublish; None: it was not said. Raises LocalTimeError."""
    return _moment(said.unpublish_at, said.unpublish_at_local, said)


def instant(local: datetime, zone: str, fold: int | None = None) -> datetime:
    """The instant, in UTC, that a naive local time means. Raises LocalTimeError."""
    rules = ZoneInfo(zone)
    first, second = (local.replace(tzinfo=rules, fold=each).astimezone(UTC) for each in (0, 1))
    if first == second:
        return first
    if first > second:  # PEP 495: in a gap, fold 0 has the offset before it and so lies after it
        transition = _find_transition(rules, second, first)
        before, after = (transition - _SECOND).astimezone(rules), transition.astimezone(rules)
        raise NonexistentTime(local, zone, _naive(before), _naive(after))
    if fold is None:
        shown = (each.astimezone(rules) for each in (first, second))
        raise AmbiguousTime(local, zone, *shown)
    return second if fold else first


def recompute_instant(local: datetime, zone: str, fold: int | None) -> datetime:
    """The instant that a local time means now that its zone's rules have changed.

    It was accepted once, so it is never refused: where the clocks now skip it, it is as long after
    the skip as it was meant to be; where it now exists twice, it is the first unless `fold` says 1.
    """
    return local.replace(tzinfo=ZoneInfo(zone), fold=fold or 0).astimezone(UTC)


def zone_digest(zone: str) -> str:
    """What tells one version of a zone's rules from another: `2026a:` and a digest of its data.

    The release of the time-zone data is the prefix, empty if unknown, so that no process goes back
    to older rules.
    """
    rules, release = _rules(zone)
    return f"{release}:{sha256(rules).hexdigest()[:16]}"


def find_tzdata_release(digest: str) -> str:
    """The release of the time-zone data, such as `2026a`, that a digest was made of."""
    return digest.partition(":")[0]


def _moment(at: datetime | None, local: datetime | None, said: WithdrawalTime) -> Moment | None:
    if at is not None:
        return Moment(at=at)
    if local is None or said.time_zone is None:
        return None
    zone = said.time_zone
    return Moment(
        at=instant(local, zone, said.fold),
        local_time=local,
        time_zone=zone,
        fold=said.fold,
        zone_digest=cached_digest(zone),
    )


@lru_cache(maxsize=1024)
def cached_digest(zone: str) -> str:
    """The digest by the rules that this process works with: `zoneinfo` keeps them as well."""
    return zone_digest(zone)


def _find_transition(rules: ZoneInfo, before: datetime, after: datetime) -> datetime:
    """The first second, after `before` and up to `after`, that has the offset of `after`."""
    offset = after.astimezone(rules).utcoffset()
    low, high = int(before.timestamp()), int(after.timestamp())
    while high - low > 1:
        middle = (low + high) // 2
        if datetime.fromtimestamp(middle, UTC).astimezone(rules).utcoffset() == offset:
            high = middle
        else:
            low = middle
    return datetime.fromtimestamp(high, UTC)


def _rules(zone: str) -> tuple[bytes, str]:
    """The zone's TZif data and its release, from where `zoneinfo` takes it: the system, else the
    wheel.
    """
    for folder in zoneinfo.TZPATH:
        path = Path(folder) / zone
        if path.is_file():
            return path.read_bytes(), _release(Path(folder))
    package, _, name = f"tzdata.zoneinfo.{zone.replace('/', '.')}".rpartition(".")
    rules = resources.files(package).joinpath(name).read_bytes()
    return rules, str(import_module("tzdata").IANA_VERSION)


def _release(folder: Path) -> str:
    """What the folder's compact source says that it is: `# version 2026a`."""
    try:
        with (folder / "tzdata.zi").open() as source:
            said = source.readline().split()
    except OSError:
        return ""
    return said[2] if said[:2] == ["#", "version"] and len(said) > 2 else ""  # noqa: PLR2004


def _naive(time: datetime) -> datetime:
    return time.replace(tzinfo=None, fold=0)


def _shown(time: datetime) -> str:
    return time.isoformat(timespec="seconds")
