"""Publish commands: what a caller asks for, and what becomes of it."""

from datetime import datetime
from enum import StrEnum
from typing import Annotated, Any
from uuid import UUID

from pydantic import Field, StringConstraints, model_validator

from schemas.base import INT64_MAX, Frozen, Id, Text, Time
from schemas.video import VideoEdits, VideoInput

MAX_COMMANDS = 1000
"""The most commands that one call may enqueue."""


class CommandState(StrEnum):
    """Where a command is: two states in which it is still to be carried out, then the outcomes."""

    SCHEDULED = "scheduled"
    WAITING = "waiting"
    PUBLISHED = "published"
    UNCHANGED = "unchanged"
    REJECTED = "rejected"
    EXPIRED = "expired"
    CANCELLED = "cancelled"
    FAILED = "failed"

    @property
    def is_outcome(self) -> bool:
        """Whether the command has ended."""
        return self not in (CommandState.SCHEDULED, CommandState.WAITING)


class Trigger(StrEnum):
    """By which door a command came in."""

    API = "api"
    CLI = "cli"
    PIPELINE = "pipeline"
    QUEUE = "queue"


class PublishOptions(Frozen):
    """What a caller may say about the publication itself, beside the video's fields."""

    publish_before: Time | None = None
    """The latest moment that still makes sense; after it the command ends as `expired`.
    24 hours from now unless said otherwise."""


class PublishBody(VideoInput, PublishOptions):
    """The body of the publish endpoint: the documented request, with options beside it."""


class PublishRequest(PublishOptions):
    """Publish this video. Sent by the render pipeline, by schedulers, by people and scripts."""

    video_id: Id
    video: VideoInput | None = None
    """The documented request; its editorial fields are applied as the video is published."""

    def edits(self) -> VideoEdits | None:
        """The editorial fields that the request brings, or None."""
        edits = self.video.edits() if self.video else None
        return edits if edits and edits.model_fields_set else None


class PublishRequests(Frozen):
    """Several videos at once, all or nothing."""

    commands: Annotated[list[PublishRequest], Field(min_length=1, max_length=MAX_COMMANDS)]


IdempotencyKey = Annotated[Text, StringConstraints(min_length=1, max_length=255)]


class QueueMessage(Frozen):
    """The keyword arguments of the Celery task `publish.enqueue`: one video, or several."""

    commands: Annotated[list[PublishRequest], Field(min_length=1, max_length=MAX_COMMANDS)]
    idempotency_key: IdempotencyKey | None = None
    """The message's own id unless said otherwise, so that a doubled message counts once."""
    correlation_id: Text | None = None
    traceparent: Text | None = None

    @model_validator(mode="before")
    @classmethod
    def _one_is_many(cls, given: Any) -> Any:
        """`video_id=7` is short for `commands=[{"video_id": 7}]`."""
        if not isinstance(given, dict) or "commands" in given:
            return given  # pyright: ignore[reportUnknownVariableType]
        message: dict[str, Any] = dict(given)  # pyright: ignore[reportUnknownArgumentType]
        command = {key: message.pop(key) for key in PublishRequest.model_fields if key in message}
        return {**message, "commands": [command]}


class PublishCommand(Frozen):
    """A command in the inbox, as callers see it."""

    id: UUID
    url: str
    """Where this command can be asked for again."""
    video_id: int
    workspace_id: int
    state: CommandState
    reason: str | None
    """Why it ended or waits, as a word for programs, such as `generation_failed`."""
    detail: str | None
    """The same for people."""
    trigger: Trigger
    edits: dict[str, Any] | None
    """The editorial fields that it brings."""
    accepted_at: datetime
    due_at: datetime
    """When it may next be claimed."""
    publish_before: datetime
    attempts: int
    """How often carrying it out failed; waiting for generation costs none."""
    finished_at: datetime | None
    correlation_id: str


class PublishCommands(Frozen):
    """Commands, newest first; `next` is the URL of the next page, if there is one."""

    commands: list[PublishCommand]
    next: str | None = None


class CommandFilter(Frozen):
    """Which commands to list, and where to begin."""

    video_id: Annotated[int, Field(ge=1, le=INT64_MAX)] | None = None
    """Only those of this video."""
    state: CommandState | None = None
    """Only those in this state."""
    before: UUID | None = None
    """The last command of the page before."""
    limit: Annotated[int, Field(ge=1, le=200)] = 50
    """How many at once."""


class CommandChange(Frozen):
    """What may be changed of a command that has not ended."""

    publish_before: Time
    """The new latest moment; the command is asked again at once."""
