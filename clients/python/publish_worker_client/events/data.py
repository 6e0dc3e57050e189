"""The `data` of each event type.

Dataclasses, which are faster to create than models, and not frozen, which takes three times as
long: the worker creates thousands per second, from validated values. pydantic makes the JSON
Schemas from the same classes.
"""

from dataclasses import dataclass, field
from datetime import datetime
from typing import Annotated, Literal
from uuid import UUID

from pydantic import WithJsonSchema

from publish_worker_client.events.documented import documented
from publish_worker_client.events.metrics import Metrics
from publish_worker_client.events.names import Action, EventType, Trigger, Visibility
from publish_worker_client.time_patterns import LOCAL

ShownLocalTime = Annotated[datetime, WithJsonSchema({"type": "string", "pattern": LOCAL})]
"""A wall-clock time in an answer or an event."""
PublicTrigger = Literal[Trigger.API, Trigger.CLI, Trigger.PIPELINE, Trigger.QUEUE, Trigger.SCHEDULE]
"""The last cause of the change: the call (`api`, `cli`, `queue`), the requested time (`schedule`)
or the end of generation (`pipeline`)."""


@documented
@dataclass(slots=True, kw_only=True)
class Person:
    """The public fields of the owner."""

    id: int
    username: str
    full_name: str


@documented
@dataclass(slots=True, kw_only=True)
class VideoPublished:
    """The video was published, or its release was updated."""

    video_id: int
    uid: UUID
    workspace_id: int
    title: str
    description: str | None
    visibility: Visibility
    custom_url: str
    url: str
    video: str
    """The rendered file's URI."""
    thumbnail: str | None
    cover_image: str | None
    duration: int | None
    owner: Person
    category: str | None
    subcategory: str | None
    tags: list[str]
    metrics: Metrics
    revision: int
    first_publication: bool
    first_published_at: datetime
    published_at: datetime
    trigger: PublicTrigger
    accepted_at: datetime
    asked_for: datetime | None
    """The requested time. null: at once."""
    due_at: datetime
    """The first moment after both the requested time and the end of generation."""
    omitted: list[str] = field(default_factory=list[str])
    """Names of fields that were left out or cut, because the event would be longer than 64 KiB:
    read them at `GET /api/v1/videos/{video_id}/`. Empty for nearly every event."""


@documented
@dataclass(slots=True, kw_only=True)
class VideoUnpublished:
    """The video was unpublished: it is a draft again. Its URL stays reserved for it."""

    video_id: int
    uid: UUID
    workspace_id: int
    title: str
    custom_url: str
    url: str
    """The former URL. It answers 404 until the video is published again."""
    revision: int
    first_publication: bool
    """Always false."""
    first_published_at: datetime
    published_at: datetime
    """The time of the last publication."""
    unpublished_at: datetime
    trigger: PublicTrigger
    accepted_at: datetime
    asked_for: datetime | None
    """The requested time. null: at once."""
    due_at: datetime


@documented
@dataclass(slots=True, kw_only=True)
class PublishScheduled:
    """A command was scheduled for a later time, or its time or deadline was changed."""

    video_id: int
    workspace_id: int
    action: Action
    first_publication: bool
    """Whether the video had never been published when the event was recorded."""
    trigger: PublicTrigger
    accepted_at: datetime
    asked_for: datetime | None
    local_time: ShownLocalTime | None
    """`asked_for` as a wall-clock time in `time_zone`, if it was requested so."""
    time_zone: str | None
    due_at: datetime
    publish_before: datetime | None
    previously: datetime | None
    """The previous `asked_for`. null: not changed, or it was at once."""
    scheduled_at: datetime
    """When the event was recorded."""


@documented
@dataclass(slots=True, kw_only=True)
class PublishEnded:
    """A command ended as `rejected`, `expired`, `cancelled` or `failed`, and changed nothing."""

    video_id: int
    workspace_id: int
    action: Action
    reason: str
    detail: str
    first_publication: bool
    """Whether the video had never been published."""
    trigger: PublicTrigger
    accepted_at: datetime
    asked_for: datetime | None
    """The requested time. null: at once."""
    due_at: datetime
    finished_at: datetime


@documented
@dataclass(slots=True, kw_only=True)
class EndpointDisabled:
    """A webhook endpoint was disabled: it answered 410 Gone, or failed for five days."""

    endpoint_id: UUID
    workspace_id: int
    url: str
    reason: str
    """`gone` or `failing`."""
    detail: str
    disabled_at: datetime


EventData = VideoPublished | VideoUnpublished | PublishScheduled | PublishEnded | EndpointDisabled

EVENT_DATA: dict[EventType, type[EventData]] = {
    EventType.PUBLISHED: VideoPublished,
    EventType.UNPUBLISHED: VideoUnpublished,
    EventType.SCHEDULED: PublishScheduled,
    EventType.RESCHEDULED: PublishScheduled,
    EventType.REJECTED: PublishEnded,
    EventType.EXPIRED: PublishEnded,
    EventType.CANCELLED: PublishEnded,
    EventType.FAILED: PublishEnded,
    EventType.ENDPOINT_DISABLED: EndpointDisabled,
}
"""The shape of each type's `data`."""

SCHEMA_VERSION = 1
