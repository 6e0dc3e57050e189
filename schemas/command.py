"""Publish commands: what callers ask for, in requests, queue messages and changes."""

from enum import StrEnum
from typing import Annotated, Any, ClassVar, Self

from pydantic import (
    ConfigDict,
    Field,
    JsonValue,
    ModelWrapValidatorHandler,
    ValidationError,
    model_validator,
)
from pydantic_core import InitErrorDetails, PydanticCustomError

from publish_worker_client.events.names import Action
from schemas.fields import UNSET, WHOLE, Frozen, Id, Name, ShortText
from schemas.json_schema import INT32_MAX, Schema, all_of, any_of, is_given, none_of
from schemas.times import LocalTime, Time, ZoneName
from schemas.video import EchoedTitle, OwnerReference, VideoEdits, VideoFields, VideoInput

MAX_COMMANDS = 1000
"""The maximum number of commands per call."""


class CommandState(StrEnum):
    """The state of a command: `scheduled`, `waiting` (for generation), or an outcome."""

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
        """Whether the command has finished."""
        return self not in (CommandState.SCHEDULED, CommandState.WAITING)


Fold = Annotated[int, Field(strict=True, ge=0, le=1), WHOLE]
Revision = Annotated[int, Field(strict=True, ge=0, le=INT32_MAX), WHOLE]


def _list_refused_times(*names: str) -> list[Schema]:
    """Return the conditions that `_check_times` refuses."""
    local = [f"{name}_local" for name in names]
    return [
        *(all_of(is_given(name), is_given(f"{name}_local")) for name in names),
        all_of(any_of(map(is_given, local)), {"not": is_given("time_zone")}),
        all_of(any_of(map(is_given, ("time_zone", "fold"))), none_of(map(is_given, local))),
    ]


_WITHDRAWAL_REFUSED = _list_refused_times("unpublish_at")
_PUBLICATION_REFUSED = _list_refused_times("publish_at", "unpublish_at")


class Expectation(Frozen):
    """Preconditions. If one does not hold when the command runs, the video is not changed."""

    expected_revision: Revision | None = None
    """The revision of the release. 0: never published."""
    expected_etag: Name | None = None
    """The Video's ETag, as in `If-Match`: the video has not changed at all."""


class WithdrawalTime(Frozen):
    """When to unpublish: an instant, or a wall-clock time in a time zone."""

    CONDITIONS: ClassVar[Schema] = none_of(_WITHDRAWAL_REFUSED)

    unpublish_at: Time | None = None
    """When to unpublish. A time in the past means now."""
    unpublish_at_local: LocalTime | None = None
    """`unpublish_at` as a wall-clock time in `time_zone`."""
    time_zone: ZoneName | None = None
    """The IANA time zone of the local times, such as `Europe/Berlin`."""
    fold: Fold | None = None
    """For a local time that occurs twice: 0 is the first occurrence, 1 the second."""

    @model_validator(mode="after")
    def _has_valid_times(self) -> Self:
        _check_times(self)
        return self


class PublicationTime(WithdrawalTime):
    """When to publish, and optionally when to unpublish again: a publication window."""

    CONDITIONS: ClassVar[Schema] = none_of(_PUBLICATION_REFUSED)

    publish_at: Time | None = None
    """When to publish. null or a time in the past: now. The video is published at this time or at
    the end of generation, whichever is later."""
    publish_at_local: LocalTime | None = None
    """`publish_at` as a wall-clock time in `time_zone`."""


class UnpublishOptions(WithdrawalTime, Expectation):
    """The options of an unpublish command."""


class PublishOptions(PublicationTime, Expectation):
    """The options of a publish command, besides the video's fields."""

    publish_before: Time | None = None
    """The deadline. After it the command ends as `expired`. Without a deadline the command runs
    however late, but waits for generation at most 24 hours."""


_VIDEO_REQUIRED = [name for name, field in VideoInput.model_fields.items() if field.is_required()]


class PublishBody(VideoFields, PublishOptions):
    """The body of the publish endpoint: options, and the documented Video request, if any.

    Every field may be left out. A field of the video requires `template`, `owner`, `title` and
    `workspace`.
    """

    CONDITIONS: ClassVar[Schema] = PublishOptions.CONDITIONS | {
        "dependentRequired": dict.fromkeys(VideoInput.model_fields, _VIDEO_REQUIRED)
    }

    template: dict[str, JsonValue] | None = None
    """The platform's client sends it; it is not read. null is valid for the sake of clients that
    send an empty object where it is not."""
    owner: OwnerReference = UNSET
    title: EchoedTitle = UNSET
    workspace: Id = UNSET

    @model_validator(mode="wrap")
    @classmethod
    def _require_whole_video(cls, body: Any, validate: ModelWrapValidatorHandler[Self]) -> Self:
        """Name the missing fields together with the wrong ones."""
        sent: set[str] = set(body) if isinstance(body, dict) else set()  # pyright: ignore[reportUnknownArgumentType]
        has_video = bool(sent & VideoInput.model_fields.keys())
        missing = [name for name in _VIDEO_REQUIRED if has_video and name not in sent]
        errors: list[InitErrorDetails] = [
            {"type": "missing", "loc": (name,), "input": None} for name in missing
        ]
        try:
            valid = validate(body)
        except ValidationError as error:
            raise _join(error, errors) from None
        if errors:
            raise ValidationError.from_exception_data(cls.__name__, errors)
        return valid

    def to_video(self) -> VideoInput | None:
        """Return the Video request in the body; None: there are only options."""
        sent = self.model_fields_set & VideoInput.model_fields.keys()
        if not sent:
            return None
        fields = {name: getattr(self, name) for name in sent}
        return VideoInput.model_construct(_fields_set=sent, **fields)


def _join(error: ValidationError, more: list[InitErrorDetails]) -> ValidationError:
    """Return one error with all of both."""
    known: list[InitErrorDetails] = [
        {
            "type": PydanticCustomError(each["type"], "{text}", {"text": each["msg"]}),  # pyright: ignore[reportArgumentType] - pydantic's own name
            "loc": each["loc"],
            "input": each["input"],
        }
        for each in error.errors(include_url=False)
    ]
    return ValidationError.from_exception_data(error.title, known + more)


_UNPUBLISH_FIELDS = UnpublishOptions.model_fields.keys() | {"video_id", "action"}


class PublishRequest(PublishOptions):
    """Publish a video. Sent by the render pipeline, schedulers, people and scripts."""

    video_id: Id
    action: Action = Action.PUBLISH
    """`unpublish` withdraws the video. It accepts only the unpublish times and the `expected_…`
    fields."""
    video: VideoInput | None = None
    """The documented request. Its editorial fields are applied when the video is published."""

    CONDITIONS: ClassVar[Schema] = none_of(
        [
            *_PUBLICATION_REFUSED,
            all_of(
                {"required": ["action"], "properties": {"action": {"const": Action.UNPUBLISH}}},
                any_of(
                    {"required": [name]}
                    for name in ("publish_at", "publish_at_local", "publish_before", "video")
                ),
            ),
        ]
    )

    @model_validator(mode="after")
    def _has_only_fields_of_its_action(self) -> Self:
        if self.action is Action.UNPUBLISH and (extra := self.model_fields_set - _UNPUBLISH_FIELDS):
            raise ValueError(f"unpublish does not accept {', '.join(sorted(extra))}")
        return self

    def to_edits(self) -> VideoEdits | None:
        """Return the editorial fields in the request, or None."""
        edits = self.video.to_edits() if self.video else None
        return edits if edits and edits.model_fields_set else None


class PublishRequests(Frozen):
    """Several requests. Either all of them are accepted or none."""

    commands: Annotated[list[PublishRequest], Field(min_length=1, max_length=MAX_COMMANDS)]


class QueueMessage(Frozen):
    """The keyword arguments of the Celery task `publish.enqueue`: one request, or several."""

    commands: Annotated[list[PublishRequest], Field(min_length=1, max_length=MAX_COMMANDS)]
    idempotency_key: Name | None = None
    """Default: the id of the Celery message, so that a duplicated message has no effect."""
    correlation_id: ShortText | None = None
    traceparent: ShortText | None = None

    @model_validator(mode="before")
    @classmethod
    def _wrap_single_command(cls, given: Any) -> Any:
        """Accept `video_id=7` as short for `commands=[{"video_id": 7}]`."""
        if not isinstance(given, dict) or "commands" in given:
            return given  # pyright: ignore[reportUnknownVariableType]
        message: dict[str, Any] = dict(given)  # pyright: ignore[reportUnknownArgumentType]
        command = {key: message.pop(key) for key in PublishRequest.model_fields if key in message}
        return {**message, "commands": [command]}


_TIMES = ("publish_at", "publish_at_local", "unpublish_at", "unpublish_at_local")


def _refuse_null_times(schema: Schema) -> None:
    """Say that a time may be left out but not be null."""
    for name in _TIMES:
        field = schema["properties"][name]
        field.update(field.pop("anyOf")[0])


class CommandChange(PublicationTime):
    """A change of the time or the deadline of a command that is not finished.

    The time is that of the command's action. A time or a deadline that is left out stays as it is;
    a local time needs its `time_zone`, and a command to unpublish has no deadline. If nothing
    differs, the command is not changed.
    """

    model_config = ConfigDict(json_schema_extra=_refuse_null_times)

    CONDITIONS: ClassVar[Schema] = none_of(
        [
            *_PUBLICATION_REFUSED,
            none_of({"required": [name]} for name in (*_TIMES, "publish_before")),
        ]
    )

    publish_at: Time | None = None
    """The new time to publish. A time in the past means now."""
    unpublish_at: Time | None = None
    """The new time to unpublish. A time in the past means now."""
    publish_before: Time | None = None
    """The new deadline. null: no deadline."""

    @model_validator(mode="after")
    def _has_a_field(self) -> Self:
        if not self.model_fields_set - {"time_zone", "fold"}:
            raise ValueError("set publish_at, unpublish_at, their local forms or publish_before")
        times = self.model_fields_set.intersection(_TIMES)
        if empty := sorted(name for name in times if getattr(self, name) is None):
            raise ValueError(f"{empty[0]} must not be null; for now, set a time in the past")
        return self


_CHECKED_TIMES = frozenset(
    ("publish_at", "publish_at_local", "unpublish_at", "unpublish_at_local", "time_zone", "fold")
)


def _check_times(times: WithdrawalTime) -> None:
    """Reject a time that is given twice, and a local time without a time zone."""
    if times.model_fields_set.isdisjoint(_CHECKED_TIMES):
        return
    has_local = False
    for name in ("publish_at", "unpublish_at"):
        if getattr(times, f"{name}_local", None) is not None:
            has_local = True
            if getattr(times, name, None) is not None:
                raise ValueError(f"set either {name} or {name}_local, not both")
    if has_local and times.time_zone is None:
        raise ValueError("publish_at_local and unpublish_at_local require time_zone")
    if not has_local and (times.time_zone is not None or times.fold is not None):
        raise ValueError("time_zone and fold require publish_at_local or unpublish_at_local")
