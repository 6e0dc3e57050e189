"""The inbox as callers see it: its commands, lists of them, causes of failures, retries."""

from datetime import datetime
from enum import StrEnum
from typing import Annotated, Any, Self
from uuid import UUID

from pydantic import Field, model_validator

from publish_worker_client.events.data import ShownLocalTime
from publish_worker_client.events.names import Action, Trigger
from schemas.command import CommandState
from schemas.fields import INT64_MAX, WHOLE, Frozen, ShortText
from schemas.times import CursorTime, Time


class PublishCommand(Frozen):
    """A command in the inbox."""

    id: UUID
    url: str
    """The URL of this command."""
    action: Action
    video_id: int
    workspace_id: int
    state: CommandState
    reason: str | None
    """Why the command finished or waits, as a code, such as `generation_failed`."""
    detail: str | None
    """The reason, for people."""
    trigger: Trigger
    """The interface that accepted the command."""
    edits: dict[str, Any] | None
    """The editorial fields that the command changes."""
    accepted_at: datetime
    publish_at: datetime | None
    """The requested publication time. null: at once."""
    publish_at_local: ShownLocalTime | None
    """`publish_at` as a wall-clock time in `time_zone`, if it was requested so."""
    unpublish_at: datetime | None
    """The requested time of an unpublish command. null: a publish command, or at once."""
    unpublish_at_local: ShownLocalTime | None
    time_zone: str | None
    fold: int | None
    publish_before: datetime | None
    """The deadline. null: the command runs however late."""
    expected_revision: int | None
    expected_etag: str | None
    counterpart: str | None
    """The URL of the other command of the publication window."""
    due_at: datetime
    """When the command may next be claimed."""
    is_due: bool
    """Whether `due_at` has come and the command has not ended: a worker takes it as soon as one is
    free."""
    fell_due_at: datetime | None
    """The first moment after both the requested time and the end of generation."""
    claimed_at: datetime | None
    """When a worker last claimed the command."""
    attempts: int
    """The number of failed attempts. Waiting for generation is not an attempt."""
    finished_at: datetime | None
    correlation_id: str
    requested_by: UUID | None = None
    """The id of the API key, or of the person at the console, that asked for the command. null: the
    queue or the command line."""


class PublishCommands(Frozen):
    """A page of commands in the requested order. `next`: the URL of the next page, or null."""

    commands: list[PublishCommand]
    next: str | None = None


class CommandOrder(StrEnum):
    """The order of a list of commands."""

    NEWEST = "newest"
    """The last accepted first."""
    DUE = "due"
    """The earliest `due_at` first."""


class CommandFilter(Frozen):
    """A filter for commands, and the start of the page."""

    video_id: Annotated[int, Field(ge=1, le=INT64_MAX)] | None = None
    """Only commands for this video."""
    workspace_id: Annotated[int, Field(ge=1, le=INT64_MAX)] | None = None
    """Only commands of this workspace, for keys that see every workspace."""
    state: CommandState | None = None
    """Only commands in this state."""
    action: Action | None = None
    """Only commands with this action."""
    due_from: Time | None = None
    """Only commands with `due_at` at this time or later."""
    due_until: Time | None = None
    """Only commands with `due_at` before this time."""
    order: CommandOrder = CommandOrder.NEWEST
    before: UUID | None = None
    """The last command of the previous page."""
    before_due_at: CursorTime | None = None
    """The `due_at` that the previous page showed for it, in the order `due`. Default: its `due_at`
    now; the command must still exist."""
    limit: Annotated[int, Field(ge=1, le=200)] = 50
    """The size of the page."""

    @model_validator(mode="after")
    def _check_page(self) -> Self:
        if self.before_due_at and not (self.before and self.order is CommandOrder.DUE):
            raise ValueError("before_due_at needs before, and the order due")
        return self


class RetryRequest(Frozen):
    """A retry of failed commands at a limited rate."""

    cause: ShortText | None = None
    """The cause as `GET /publish-commands/causes` lists it. null: all failed commands."""
    per_second: Annotated[int, Field(strict=True, ge=1, le=1000), WHOLE] = 50
    """The number of commands that become due each second."""


class Retried(Frozen):
    """The result of a bulk retry."""

    commands: int
    """The number of commands that are retried."""
    last_due_at: datetime | None
    """The `due_at` of the last of them."""


class FailureCause(Frozen):
    """Failed commands with the same cause."""

    cause: str
    """The error's type, such as `UniqueViolation`."""
    commands: int
    last_finished_at: datetime
    example: UUID
    """The last command that failed with this cause."""


class FailureCauses(Frozen):
    """The causes of the newest 100,000 failed commands, the most frequent first."""

    causes: list[FailureCause]
