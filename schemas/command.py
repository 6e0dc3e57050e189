"""Publish commands: what a caller asks for, and what becomes of it."""

from datetime import datetime
from enum import StrEnum
from typing import Annotated, Any, Literal, Self
from uuid import UUID

from pydantic import Field, StringConstraints, model_validator

from schemas.fields import INT32_MAX, INT64_MAX, Frozen, Id, LocalTime, Text, Time, ZoneName
from schemas.video import VideoEdits, VideoInput

MAX_COMMANDS = 1000
"""The most commands that one call may enqueue."""


class Action(StrEnum):
    """What a command asks for."""

    PUBLISH = "publish"
    UNPUBLISH = "unpublish"


class CommandState(StrEnum):
    """Where a command is: two states in which it is still to be carried out, then the outcomes."""

    SCHEDULED = "scheduled"
    WAITING = "waiting"
    PUBLISHED = "published"
    UNPUBLISHED = "unpublished"
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
    """What set a turn off: of a command, the door by which it came in; of an event, that door, or
    the time (`schedule`), or the end of generation (`pipeline`), whichever came last.
    """

    API = "api"
    CLI = "cli"
    PIPELINE = "pipeline"
    QUEUE = "queue"
    SCHEDULE = "schedule"
    CANARY = "canary"
    """Our own publication, each minute, that shows that scheduling works; it has no event."""


Fold = Annotated[int, Field(strict=True, ge=0, le=1)]
Revision = Annotated[int, Field(strict=True, ge=0, le=INT32_MAX)]
ETag = Annotated[Text, StringConstraints(min_length=1, max_length=255)]


class Expectation(Frozen):
    """What the caller believes of the video; if it is otherwise by then, nothing is done to it."""

    expected_revision: Revision | None = None
    """The release's revision; 0: never published."""
    expected_etag: ETag | None = None
    """The Video's ETag, as `If-Match` has it: no change at all since."""


class WithdrawalTime(Frozen):
    """When to withdraw the video: at an instant, or at a wall-clock time in a zone."""

    unpublish_at: Time | None = None
    """When to unpublish; a time that has passed means now."""
    unpublish_at_local: LocalTime | None = None
    """The same as wall-clock time in `time_zone`."""
    time_zone: ZoneName | None = None
    """An IANA time zone, such as `Europe/Berlin`, for the local times."""
    fold: Fold | None = None
    """Which one of a local time that exists twice: 0 the first, 1 the second."""

    @model_validator(mode="after")
    def _one_way_to_say_it(self) -> Self:
        _check_times(self)
        return self


class PublicationTime(WithdrawalTime):
    """When to publish, and, if it is to be a window, when to unpublish again."""

    publish_at: Time | None = None
    """When to publish; null or a time that has passed means now. The video is published at the
    later of this time and the end of generation."""
    publish_at_local: LocalTime | None = None
    """The same as wall-clock time in `time_zone`."""


class UnpublishOptions(WithdrawalTime, Expectation):
    """What a caller may say about a withdrawal."""


class PublishOptions(PublicationTime, Expectation):
    """What a caller may say about the publication itself, beside the video's fields."""

    publish_before: Time | None = None
    """The latest moment; after it the command ends as `expired`. Without it the command is carried
    out however late, but waits for generation 24 hours at most."""


class PublishBody(VideoInput, PublishOptions):
    """The body of the publish endpoint: the documented request, with options beside it."""


class PublishRequest(PublishOptions):
    """Publish this video. Sent by the render pipeline, by schedulers, by people and scripts."""

    video_id: Id
    action: Action = Action.PUBLISH
    """`unpublish` withdraws it instead: then only `unpublish_at` and what is expected may be said
    beside it."""
    video: VideoInput | None = None
    """The documented request; its editorial fields are applied as the video is published."""

    @model_validator(mode="after")
    def _a_withdrawal_says_less(self) -> Self:
        allowed = UnpublishOptions.model_fields.keys() | {"video_id", "action"}
        if self.action is Action.UNPUBLISH and (extra := self.model_fields_set - allowed):
            raise ValueError(f"unpublish takes no {', '.join(sorted(extra))}")
        return self

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
    action: Action
    video_id: int
    workspace_id: int
    state: CommandState
    reason: str | None
    """Why it ended or waits, as a word for programs, such as `generation_failed`."""
    detail: str | None
    """The same for people."""
    trigger: Trigger
    """The door by which it came in."""
    edits: dict[str, Any] | None
    """The editorial fields that it brings."""
    accepted_at: datetime
    publish_at: datetime | None
    """When the caller asked it to be published; null: at once."""
    publish_at_local: datetime | None
    """The same as the caller's wall-clock time in `time_zone`, if that is how it was said."""
    unpublish_at: datetime | None
    """When the caller asked it to be withdrawn; null for a publication."""
    unpublish_at_local: datetime | None
    time_zone: str | None
    fold: int | None
    publish_before: datetime | None
    """The latest moment; null: the command is carried out however late."""
    expected_revision: int | None
    expected_etag: str | None
    counterpart: str | None
    """The URL of the other command of a window: what publishes has what unpublishes, and vice
    versa."""
    due_at: datetime
    """When it may next be claimed."""
    fell_due_at: datetime | None
    """When it could first have been carried out: its time had come, and generation had ended."""
    claimed_at: datetime | None
    """When a worker last took it in hand."""
    attempts: int
    """How often carrying it out failed; waiting for generation costs none."""
    finished_at: datetime | None
    correlation_id: str


class PublishCommands(Frozen):
    """Commands in the order asked for; `next` is the URL of the next page, if there is one."""

    commands: list[PublishCommand]
    next: str | None = None


class CommandOrder(StrEnum):
    """In which order commands are listed."""

    NEWEST = "newest"
    """The last one accepted first."""
    DUE = "due"
    """The next one due first."""


class CommandFilter(Frozen):
    """Which commands to list, and where to begin."""

    video_id: Annotated[int, Field(ge=1, le=INT64_MAX)] | None = None
    """Only those of this video."""
    workspace_id: Annotated[int, Field(ge=1, le=INT64_MAX)] | None = None
    """Only those of this workspace, for keys that see several."""
    state: CommandState | None = None
    """Only those in this state."""
    action: Action | None = None
    """Only those that do this."""
    due_from: Time | None = None
    """Only those due at this time or later."""
    due_until: Time | None = None
    """Only those due before this time."""
    order: CommandOrder = CommandOrder.NEWEST
    before: UUID | None = None
    """The last command of the page before."""
    before_due_at: Time | None = None
    """When that one was due; only in due order."""
    limit: Annotated[int, Field(ge=1, le=200)] = 50
    """How many at once."""


class CommandChange(PublicationTime):
    """What may be changed of a command that has not been claimed: its time, its latest moment.

    What is not said stays. Where neither time nor latest moment differ, nothing happens.
    """

    publish_before: Time | None = None
    """The new latest moment; null takes it away."""

    @model_validator(mode="after")
    def _says_something(self) -> Self:
        if not self.model_fields_set - {"time_zone", "fold"}:
            raise ValueError("say publish_at, unpublish_at, their local forms or publish_before")
        times = self.model_fields_set - {"time_zone", "fold", "publish_before"}
        if empty := sorted(name for name in times if getattr(self, name) is None):
            raise ValueError(f"{empty[0]} must not be null; a time that has passed means now")
        return self


class RetryRequest(Frozen):
    """Retry what failed, all with the same cause, at a bounded rate."""

    cause: Text | None = None
    """The cause as `GET /publish-commands/causes` lists it; all failed commands without it."""
    per_second: Annotated[int, Field(strict=True, ge=1, le=1000)] = 50
    """How many may fall due each second."""


class Retried(Frozen):
    """What a bulk retry set going."""

    commands: int
    """How many commands have new attempts."""
    last_due_at: datetime | None
    """When the last of them falls due."""


class FailureCause(Frozen):
    """Failed commands with the same cause."""

    cause: str
    """The error's type, such as `UniqueViolation`."""
    commands: int
    last_finished_at: datetime
    example: UUID
    """The last command that it ended."""


class FailureCauses(Frozen):
    """Why commands failed, the most frequent cause first."""

    causes: list[FailureCause]


_TIMES: tuple[Literal["publish_at", "unpublish_at"], ...] = ("publish_at", "unpublish_at")


def _check_times(said: WithdrawalTime) -> None:
    """Refuse a time said in two ways, and a local time without its zone."""
    local = False
    for name in _TIMES:
        here = getattr(said, f"{name}_local", None)
        local = local or here is not None
        if here is not None and getattr(said, name, None) is not None:
            raise ValueError(f"say either {name} or {name}_local, not both")
    if local and said.time_zone is None:
        raise ValueError("a local time needs its time_zone")
    if not local and (said.time_zone is not None or said.fold is not None):
        raise ValueError("time_zone and fold belong to publish_at_local or unpublish_at_local")
