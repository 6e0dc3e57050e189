"""What a caller asks for: to publish or unpublish one video, with its times and conditions."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from publish_worker_client.events.names import Action
from publish_worker_client.publish.errors import InvalidPublication
from publish_worker_client.publish.option_names import FIELDS

NOT_STORABLE = frozenset(("\0", *map(chr, range(0xD800, 0xE000))))
"""NUL, which PostgreSQL does not store, and halves of surrogate pairs, which UTF-8 lacks."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Publication:
    """Publish one video; `until` unpublishes it again.

    A time with an offset is an instant. One without is a wall-clock time in `time_zone`; of one
    that the clocks show twice, `fold=1` is the second. Give the first one with its offset.
    """

    video_id: int
    at: datetime | None = None
    """When to publish. None, or a time in the past: at once, when generation has completed."""
    until: datetime | None = None
    """When to unpublish again. None: never."""
    time_zone: str | None = None
    """IANA time zone of the times without an offset, such as `Europe/Berlin`."""
    deadline: datetime | None = None
    """The command expires if it has not run by then. None: generation is awaited for 24 hours."""
    expected_revision: int | None = None
    """The command is refused if the release has another revision; 0: never published."""
    video: Mapping[str, Any] | None = None
    """The documented request of the platform: its editorial fields are applied. Over HTTP only."""
    action: Action = Action.PUBLISH

    def to_fields(self) -> dict[str, Any]:
        """Return the fields of the command's request, as the API names them.

        Raises InvalidPublication for a time without an offset and without a time zone, and for
        values of another type: a transaction is not failed by them.
        """
        fields: dict[str, Any] = {"video_id": check_number("video_id", self.video_id, 63)}
        for option, time in (("at", self.at), ("until", self.until)):
            if time is not None:
                fields |= to_time_fields(FIELDS[option], time, self.time_zone)
        if self.deadline is not None:
            fields[FIELDS["deadline"]] = require_offset("deadline", self.deadline)
        if self.expected_revision is not None:
            check_number("expected_revision", self.expected_revision, 31)
        given = {
            "action": None if self.action is Action.PUBLISH else self.action,
            "time_zone": check_zone(self.time_zone, fields),
            "expected_revision": self.expected_revision,
            "video": None if self.video is None else dict(self.video),
        }
        return fields | {name: value for name, value in given.items() if value is not None}


def to_time_fields(name: str, time: Any, time_zone: str | None) -> dict[str, Any]:
    """Return the fields of a time as the API names them. Raises InvalidPublication."""
    if not _is_local(name, time):
        return {name: _to_utc(name, time)}
    if time_zone is None:
        raise InvalidPublication("A time without an offset needs time_zone.")
    fold = {"fold": 1} if time.fold else {}
    return {f"{name}_local": time.replace(tzinfo=None).isoformat(), **fold}


def check_zone(time_zone: Any, fields: Mapping[str, Any]) -> str | None:
    """Return a time zone. Raises InvalidPublication if none of the times in `fields` needs it."""
    if time_zone is not None and not any(name.endswith("_local") for name in fields):
        raise InvalidPublication("time_zone is for times without an offset: leave it out.")
    return check_text("time_zone", time_zone)


def check_text(name: str, text: Any) -> str | None:
    """Return a text. Raises InvalidPublication if PostgreSQL or JSON cannot store it."""
    if text is not None and not (isinstance(text, str) and NOT_STORABLE.isdisjoint(text)):
        raise InvalidPublication(f"{name} must be text that UTF-8 can store, and is {text!a:.100}.")
    return text


def check_number(name: str, number: Any, bits: int) -> int:
    """Return a whole number. Raises InvalidPublication if it is not one, or has more bits."""
    is_number = isinstance(number, int) and not isinstance(number, bool)
    if not is_number or abs(number) >= 1 << bits:
        raise InvalidPublication(f"{name} must be an int below 2^{bits}, and is {number!a:.100}.")
    return number


def _is_local(name: str, time: Any) -> bool:
    if not isinstance(time, datetime):
        raise InvalidPublication(f"{name} must be a datetime, and is {time!a:.100}.")
    return time.utcoffset() is None


def require_offset(name: str, time: Any) -> str:
    """Return an instant in UTC. Raises InvalidPublication."""
    if _is_local(name, time):
        raise InvalidPublication(f"{name} must have an offset: give it a time zone.")
    return _to_utc(name, time)


def _to_utc(name: str, time: datetime) -> str:
    """Return an instant in UTC: RFC 3339 has no offsets with seconds, as old local times have."""
    try:
        return time.astimezone(UTC).isoformat()
    except OverflowError:
        raise InvalidPublication(f"{name} is out of range: {time!s}.") from None
