"""Events: facts about videos, in the past tense, and the CloudEvents 1.0 envelope.

What an event carries is a plain dataclass: thousands are made each second, from values that were
checked before. pydantic reads the same classes for the schemas.
"""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Literal
from uuid import UUID

from schemas.base import Frozen, documented
from schemas.command import Trigger
from schemas.metrics import Metrics
from schemas.video import Visibility


class EventType(StrEnum):
    """Every kind of event that goes out."""

    PUBLISHED = "video.published"
    REJECTED = "video.publish_rejected"
    EXPIRED = "video.publish_expired"
    CANCELLED = "video.publish_cancelled"
    FAILED = "video.publish_failed"


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
    """The video went live, or what it has out changed. Emitted by publish."""

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
    trigger: Trigger
    accepted_at: datetime
    due_at: datetime


@documented
@dataclass(frozen=True, slots=True, kw_only=True)
class PublishEnded:
    """A command ended without publishing. Emitted with its outcome `rejected`, `expired`,
    `cancelled` or `failed`.
    """

    video_id: int
    workspace_id: int
    reason: str
    detail: str
    trigger: Trigger
    accepted_at: datetime
    due_at: datetime
    finished_at: datetime


EVENT_DATA: dict[EventType, type[VideoPublished] | type[PublishEnded]] = {
    EventType.PUBLISHED: VideoPublished,
    EventType.REJECTED: PublishEnded,
    EventType.EXPIRED: PublishEnded,
    EventType.CANCELLED: PublishEnded,
    EventType.FAILED: PublishEnded,
}
"""The shape of each type's `data`."""

SCHEMA_VERSION = 1


class CloudEvent(Frozen):
    """The envelope: CloudEvents 1.0, structured JSON, with our extension attributes."""

    specversion: Literal["1.0"] = "1.0"
    id: UUID
    """Never changes over redeliveries: what a consumer tells doubles by."""
    source: str
    """`/workspaces/{id}`."""
    type: EventType
    subject: str
    """The video's id."""
    time: datetime
    datacontenttype: Literal["application/json"] = "application/json"
    dataschema: str
    sequence: str
    """The position: 1, 2, 3 …, without gaps."""
    partitionkey: str
    """The video's id."""
    videorevision: int | None = None
    correlationid: str
    causationid: UUID
    """The command's id."""
    traceparent: str | None = None
    data: VideoPublished | PublishEnded
