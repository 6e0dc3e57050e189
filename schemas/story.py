"""The story of a video: what happened to it, step by step, and what it has public."""

from datetime import datetime
from enum import StrEnum
from typing import Any
from uuid import UUID

from publish_worker_client.events.names import Action, EventType, Trigger
from schemas.command import CommandState
from schemas.fields import Frozen
from schemas.video_list import ListedPlan
from schemas.webhook import DeliveryState


class StoryKind(StrEnum):
    """The kind of a step."""

    VIDEO_CREATED = "video_created"
    GENERATION_REPORTED = "generation_reported"
    """The last report of the pipeline."""
    COMMAND_ACCEPTED = "command_accepted"
    COMMAND_DUE = "command_due"
    """Its time had come, and generation had ended."""
    COMMAND_CLAIMED = "command_claimed"
    """A worker took it: the last time, if there were several attempts."""
    COMMAND_ATTEMPT_FAILED = "command_attempt_failed"
    """An attempt failed with an error; it is repeated after a pause, five times in all."""
    COMMAND_ENDED = "command_ended"
    EVENT_RECORDED = "event_recorded"
    DELIVERY_CREATED = "delivery_created"
    DELIVERY_ATTEMPTED = "delivery_attempted"
    DELIVERY_ENDED = "delivery_ended"


class Omission(StrEnum):
    """What a story leaves out."""

    EARLIER_REPORTS = "earlier_reports"
    """Only the last report of the pipeline is stored."""
    OLDER_COMMANDS = "older_commands"
    """Only the newest 50 commands are shown, and the events of the newest 20."""
    EVENTS = "events"
    """The event of an outcome is not stored any more, or was not found."""
    OLDER_DELIVERIES = "older_deliveries"
    """Only the newest 100 deliveries are shown."""
    EARLIER_ATTEMPTS = "earlier_attempts"
    """Only the last 5 attempts of a delivery and the last 10 failed ones of a command are shown."""


class StoryEntry(Frozen):
    """One step. Fields that do not concern its kind are null."""

    at: datetime
    kind: StoryKind
    text: str
    """The step, for people."""
    duration_seconds: float | None = None
    """`command_due`: since it was accepted. `command_claimed`: since it was due, which is its
    lateness. `command_ended`: since it was claimed. `delivery_attempted`: until the answer.
    `delivery_ended`: since the delivery was created."""
    command_id: UUID | None = None
    action: Action | None = None
    state: CommandState | None = None
    """The outcome of a command that has ended, and the state of one that is open."""
    reason: str | None = None
    detail: str | None = None
    """The error or the reason, for people."""
    trigger: Trigger | None = None
    """The interface that accepted the command."""
    attempts: int | None = None
    """The failed attempts of the command, or all attempts of the delivery."""
    position: int | None = None
    """The position of the event."""
    event_type: EventType | None = None
    delivery_id: UUID | None = None
    delivery_state: DeliveryState | None = None
    endpoint_id: UUID | None = None
    endpoint_url: str | None = None
    status: int | None = None
    """The HTTP status of the attempt. null: no answer arrived."""


class LastReport(Frozen):
    """The last report that set the video's generation state."""

    run: int
    """1 for the first generation, plus 1 for each further one."""
    is_final: bool
    reported_at: datetime
    progress: int
    completed: bool
    detail: str | None
    """Why the run failed."""


class VideoStory(Frozen):
    """What is known of a video: its state, its address, and each step, the newest first."""

    video_id: int
    workspace_id: int
    title: str
    owner_username: str
    status: str
    internal_status: str
    is_draft: bool
    plan: ListedPlan
    """The result that a publish would have now."""
    generation: LastReport | None
    """null: no report has set the state; the platform may have written it."""
    custom_url: str | None
    """The path of the last publication. null: never published."""
    url: str | None
    former_urls: list[str]
    """Other paths that it had, as far as its events are stored. Each finds the video, as every
    path with its short id does."""
    short_id: str
    is_redirected: bool
    """Whether its paths are redirected to the current one: it is published and not a draft."""
    revision: int
    """The number of publications and withdrawals. 0: never published."""
    first_published_at: datetime | None
    published_at: datetime | None
    withdrawn_at: datetime | None
    metrics: dict[str, Any] | None
    """As of the last publication."""
    entries: list[StoryEntry]
    omitted: list[Omission]
