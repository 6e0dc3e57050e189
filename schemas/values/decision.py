"""Decisions: what is to become of a claimed command, as plain values for one write."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from schemas.command import CommandState
from schemas.events import EventData, EventType
from schemas.metrics import Metrics

ALREADY_PUBLISHED = (
    "already_published",
    "The video was published already, and the command changes nothing.",
)
"""The reason and the detail of a command that came, or became, too late to matter."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Release:
    """What the video has out from now on."""

    video_id: int
    short_id: str
    custom_url: str
    metrics: Metrics
    revision: int
    first_published_at: datetime
    published_at: datetime
    withdrawn_at: datetime | None = None
    """When it was withdrawn; None: it is out."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NewEvent:
    """An event to record; its position comes with the write."""

    id: UUID
    type: EventType
    video_id: int | None
    subject: str | None = None
    """What it is about, if not a video."""
    workspace_id: int
    occurred_at: datetime
    revision: int | None
    command_id: UUID | None
    correlation_id: str
    traceparent: str | None
    data: EventData


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """What becomes of one command, and what is written because of it."""

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
    changes: dict[str, Any] | None = None
    """The edits that differ from what the video has: column to new value, and `tags`."""
    release: Release | None = None
    event: NewEvent | None = None
