"""Decisions: the next state of each claimed command, and the rows to write for it.

Not frozen, like facts: to create a frozen one takes three times as long.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from publish_worker_client.events.data import EventData
from publish_worker_client.events.metrics import Metrics
from publish_worker_client.events.names import EventType
from schemas.command import CommandState

ALREADY_PUBLISHED = (
    "already_published",
    "The video was published already, and the command changes nothing.",
)
"""The reason and the detail of a publish command that has no effect."""

FOLLOWS_AFTER = timedelta(seconds=1)
"""How long after the first of a video's waiting commands the others are due again."""


@dataclass(slots=True, kw_only=True)
class Release:
    """A video's new release."""

    video_id: int
    short_id: str
    custom_url: str
    metrics: Metrics
    revision: int
    first_published_at: datetime
    published_at: datetime
    withdrawn_at: datetime | None = None
    """None: the video is public."""


@dataclass(slots=True, kw_only=True)
class NewEvent:
    """An event to record. The database assigns its position."""

    id: str
    """A UUID; as text, which takes a seventh of the time to make."""
    type: EventType
    video_id: int | None
    subject: str | None = None
    """The subject, if it is not the video."""
    workspace_id: int
    occurred_at: datetime
    revision: int | None
    command_id: UUID | None
    correlation_id: str
    traceparent: str | None
    data: EventData


@dataclass(slots=True, kw_only=True)
class Decision:
    """The next state of one command, and the changes to write."""

    command_id: UUID
    video_id: int
    correlation_id: str
    state: CommandState
    reason: str | None
    detail: str | None
    due_at: datetime
    checks: int
    attempts: int
    fell_due_at: datetime | None
    claimed_at: datetime | None
    finished_at: datetime | None
    waits_until: datetime | None = None
    """How long it waits for generation at most. None: it does not wait for generation."""
    changes: dict[str, Any] | None = None
    """The edits that differ from the video: column to new value, and `tags`."""
    release: Release | None = None
    event: NewEvent | None = None
