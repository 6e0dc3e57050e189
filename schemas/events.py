"""Events: facts about videos, in the past tense, and the CloudEvents 1.0 envelope.

What an event carries is a plain dataclass: thousands are made each second, from values that were
checked before. pydantic reads the same classes for the schemas.
"""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Literal
from uuid import UUID

from schemas.command import Action, Trigger
from schemas.fields import Frozen, documented
from schemas.metrics import Metrics
from schemas.video import Visibility


class EventType(StrEnum):
    """Every type of event."""

    PUBLISHED = "video.published"
    UNPUBLISHED = "video.unpublished"
    SCHEDULED = "video.publish_scheduled"
    RESCHEDULED = "video.publish_rescheduled"
    REJECTED = "video.publish_rejected"
    EXPIRED = "video.publish_expired"
    CANCELLED = "video.publish_cancelled"
    FAILED = "video.publish_failed"
    ENDPOINT_DISABLED = "webhook.endpoint_disabled"


PublicTrigger = Literal[Trigger.API, Trigger.CLI, Trigger.PIPELINE, Trigger.QUEUE, Trigger.SCHEDULE]
"""What triggered the change: the last of the call (by its door), its time (`schedule`) and the end
of generation (`pipeline`)."""


@documented
@dataclass(frozen=True, slots=True, kw_only=True)
class Person:
    """The owner, as far as the public may know."""

    id: int
    username: str
    full_name: str


@documented
@dataclass(frozen=True, slots=True, kw_only=True)
class VideoPublished:
    """The video was published, or its release changed. Emitted by publish."""

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
    """The time that the command asked for; null: at once."""
    due_at: datetime
    """When it could first be carried out: its time had come, and generation had ended."""


@documented
@dataclass(frozen=True, slots=True, kw_only=True)
class VideoUnpublished:
    """The video was withdrawn: a draft again, its URL kept for the day it comes back."""

    video_id: int
    uid: UUID
    workspace_id: int
    title: str
    custom_url: str
    url: str
    """Where it was; leads nowhere until it is published again."""
    revision: int
    first_publication: bool
    """Always false: it had been out."""
    first_published_at: datetime
    published_at: datetime
    """When it was last published."""
    unpublished_at: datetime
    trigger: PublicTrigger
    accepted_at: datetime
    asked_for: datetime | None
    """The time that the command asked for; null: at once."""
    due_at: datetime


@documented
@dataclass(frozen=True, slots=True, kw_only=True)
class PublishScheduled:
    """A command will be carried out at a later time, or its time or latest moment was changed.
    Emitted as it is accepted, or changed.
    """

    video_id: int
    workspace_id: int
    action: Action
    first_publication: bool
    """Whether the video had never been published when this was recorded."""
    trigger: PublicTrigger
    accepted_at: datetime
    asked_for: datetime | None
    local_time: datetime | None
    """The wall-clock time that was asked for, in `time_zone`, if it was said so."""
    time_zone: str | None
    due_at: datetime
    publish_before: datetime | None
    previously: datetime | None
    """The time that was asked for before; null where it was not changed."""
    scheduled_at: datetime
    """When it was recorded."""


@documented
@dataclass(frozen=True, slots=True, kw_only=True)
class PublishEnded:
    """A command ended and changed nothing. Emitted with its outcome `rejected`, `expired`,
    `cancelled` or `failed`.
    """

    video_id: int
    workspace_id: int
    action: Action
    reason: str
    detail: str
    first_publication: bool
    """Whether it would have been the video's first publication."""
    trigger: PublicTrigger
    accepted_at: datetime
    asked_for: datetime | None
    """The time that the command asked for; null: at once."""
    due_at: datetime
    finished_at: datetime


@documented
@dataclass(frozen=True, slots=True, kw_only=True)
class EndpointDisabled:
    """A webhook endpoint was disabled: it answered 410 Gone, or failed for days."""

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


class CloudEvent(Frozen):
    """The envelope: CloudEvents 1.0, structured JSON, with our extension attributes."""

    specversion: Literal["1.0"] = "1.0"
    id: UUID
    """Never changes over redeliveries: consumers recognise duplicates by it."""
    source: str
    """`/workspaces/{id}`."""
    type: EventType
    subject: str
    """The video's id; of an event that is about no video, the endpoint's."""
    time: datetime
    datacontenttype: Literal["application/json"] = "application/json"
    dataschema: str
    sequence: str
    """The position: 1, 2, 3 …, without gaps."""
    partitionkey: str
    """The subject: events with the same one are in order wherever they go."""
    videorevision: int | None = None
    correlationid: str
    causationid: UUID | None = None
    """The command's id; none where no command was the cause."""
    traceparent: str | None = None
    data: EventData
