"""What a caller asks for: to publish or unpublish one video, with its times and conditions."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from publish_worker_client.events.names import Action
from publish_worker_client.publish.errors import InvalidPublication


@dataclass(frozen=True, slots=True, kw_only=True)
class Publication:
    """Publish one video; `until` unpublishes it again.

    A time with an offset is an instant. One without is a wall-clock time in `time_zone`.
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

        Raises InvalidPublication for a time without an offset and without a time zone.
        """
        is_local = False
        fields: dict[str, Any] = {"video_id": self.video_id}
        for name, time in (("publish_at", self.at), ("unpublish_at", self.until)):
            if time is not None:
                local = time.tzinfo is None
                is_local |= local
                fields[f"{name}_local" if local else name] = time.isoformat()
                if local and time.fold:
                    fields["fold"] = 1
        if self.deadline is not None:
            fields["publish_before"] = _require_offset("deadline", self.deadline)
        if is_local and self.time_zone is None:
            raise InvalidPublication("A time without an offset needs time_zone.")
        given = {
            "action": None if self.action is Action.PUBLISH else self.action,
            "time_zone": self.time_zone,
            "expected_revision": self.expected_revision,
            "video": None if self.video is None else dict(self.video),
        }
        return fields | {name: value for name, value in given.items() if value is not None}


def _require_offset(name: str, time: datetime) -> str:
    if time.tzinfo is None:
        raise InvalidPublication(f"{name} must have an offset: give it a time zone.")
    return time.isoformat()
