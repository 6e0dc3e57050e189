"""The options of the publishers' methods."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Literal, Required, TypedDict


class SenderArguments(TypedDict, total=False):
    """Options of each call: see Sender."""

    idempotency_key: str | None
    correlation_id: str | None
    traceparent: str | None


class UnpublishArguments(SenderArguments, total=False):
    """Options of `unpublish`: see Publication; `at` is when to unpublish."""

    at: datetime | None
    time_zone: str | None
    expected_revision: int | None


class PublishArguments(UnpublishArguments, total=False):
    """Options of `publish`: see Publication."""

    until: datetime | None
    deadline: datetime | None
    video: Mapping[str, Any] | None


class RescheduleArguments(TypedDict, total=False):
    """Options of `reschedule`. What is left out stays as it is."""

    at: datetime
    """The new time to publish, or of a command to unpublish, to unpublish. One in the past: now."""
    time_zone: str
    """IANA time zone of `at`, if it has no offset."""
    deadline: datetime | None
    """The new deadline of a command to publish. None: no deadline."""


class ListArguments(TypedDict, total=False):
    """Which commands are listed, and in which order."""

    video_id: int
    workspace_id: int
    """For keys that see every workspace."""
    state: str
    action: str
    due_from: datetime
    """Those that are due at this time or later."""
    due_until: datetime
    """Those that are due before this time."""
    order: Literal["newest", "due"]
    """`newest` (the default): the last accepted first; `due`: the next due first."""


class ReportArguments(TypedDict, total=False):
    """A report of generation. A field that its kind does not have is refused."""

    kind: Required[Literal["progressed", "completed", "failed"]]
    run: int
    """1 for the first generation; add 1 each time the video is generated again."""
    time: datetime
    """When it happened. Default: now."""
    internal_status: str
    """`progressed`: the stage."""
    generation_progress: int
    """`progressed`: percent."""
    video: str
    """`completed`: the URL of the rendered file."""
    duration: int
    """`completed`, with `video`: its seconds."""
    detail: str
    """`failed`: the cause, for people."""
