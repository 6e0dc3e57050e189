"""Generation reports: a pipeline's reports on a video's generation, and the state after them."""

from datetime import datetime
from enum import StrEnum
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import ConfigDict, Field, model_validator
from pydantic import StringConstraints as Constraints

from publish_worker_client.events.data_field import read_data
from schemas.fields import INT64_MAX, WHOLE, Frozen, Name, Storable, Uri
from schemas.json_schema import INT32_MAX, Schema, all_of, any_of, is_given, none_of
from schemas.times import ReportTime
from schemas.video import InternalStatus

MAX_RUN = 1_000_000
TYPE_PREFIX = "video.generation."


class ReportKind(StrEnum):
    """The kind of a report."""

    PROGRESSED = "progressed"
    COMPLETED = "completed"
    FAILED = "failed"


Run = Annotated[int, Field(strict=True, ge=1, le=MAX_RUN), WHOLE]
Progress = Annotated[int, Field(strict=True, ge=0, le=100), WHOLE]
Seconds = Annotated[int, Field(strict=True, ge=0, le=INT32_MAX), WHOLE]
Detail = Annotated[str, Constraints(strict=True, max_length=2000), Storable()]

_KIND_OF_FIELD = {
    "internal_status": ReportKind.PROGRESSED,
    "generation_progress": ReportKind.PROGRESSED,
    "video": ReportKind.COMPLETED,
    "duration": ReportKind.COMPLETED,
    "detail": ReportKind.FAILED,
}
_NO_STAGES = (InternalStatus.COMPLETED, InternalStatus.FAILED)


def has_foreign_field(kind: ReportKind) -> Schema:
    """The condition that a field does not belong to a report of this kind."""
    return any_of(is_given(field) for field, owner in _KIND_OF_FIELD.items() if owner is not kind)


_REFUSED: tuple[Schema, ...] = (
    {"required": ["internal_status"], "properties": {"internal_status": {"enum": [*_NO_STAGES]}}},
    all_of(is_given("duration"), {"not": is_given("video")}),
)


class ReportData(Frozen):
    """A report's fields other than its kind and its time."""

    CONDITIONS: ClassVar[Schema] = none_of(_REFUSED)

    run: Run = 1
    """1 for the first generation. Add 1 each time the video is generated again, also after a
    failure. A report of an earlier run sets at most the rendered file, if no later report has."""
    internal_status: InternalStatus | None = None
    """`progressed` only: the stage of the run. Within a run it never goes back."""
    generation_progress: Progress | None = None
    """`progressed` only: percent, 0 to 100. Within a run it never decreases."""
    video: Uri | None = None
    """`completed` only: the URL of the rendered file. null: the current file is kept."""
    duration: Seconds | None = None
    """`completed` only, together with `video`: the length of the file. Seconds. null: the sum of
    the sections."""
    detail: Detail | None = None
    """`failed` only: the cause, for people."""


class GenerationReport(ReportData):
    """The progress of a video's generation. Sent by pipelines that do not share the database."""

    CONDITIONS: ClassVar[Schema] = none_of(
        [
            *_REFUSED,
            *(
                all_of({"properties": {"kind": {"const": kind}}}, has_foreign_field(kind))
                for kind in ReportKind
            ),
        ]
    )

    kind: ReportKind
    time: ReportTime | None = None
    """When it happened. Default: now. It decides between reports of the same kind and run."""

    @model_validator(mode="after")
    def _has_only_fields_of_its_kind(self) -> Self:
        _check(self.kind, self)
        return self


class GenerationEventType(StrEnum):
    """The event types on the stream `video.generation`."""

    PROGRESSED = "video.generation.progressed"
    COMPLETED = "video.generation.completed"
    FAILED = "video.generation.failed"

    @property
    def kind(self) -> ReportKind:
        """The kind of the report."""
        return ReportKind(self.removeprefix(TYPE_PREFIX))


class GenerationEvent(Frozen):
    """A report on the stream: CloudEvents 1.0, structured JSON.

    Extension attributes of any type are ignored, and an attribute that is null counts as absent.
    `data_base64`, with the bytes of a JSON document, may replace `data`.
    """

    model_config = ConfigDict(extra="ignore")

    specversion: Literal["1.0"]
    id: Name
    source: Annotated[str, Constraints(strict=True, min_length=1, max_length=2000), Storable()]
    type: GenerationEventType
    subject: Annotated[str, Constraints(strict=True, pattern=r"^[1-9][0-9]{0,18}$"), Storable()]
    """The video's id."""
    time: ReportTime | None = None
    """Default: when Redis received the entry."""
    datacontenttype: Name | None = None
    data: ReportData

    @model_validator(mode="before")
    @classmethod
    def _decode_data(cls, event: Any) -> Any:
        return {**event, "data": read_data(event)} if isinstance(event, dict) else event  # pyright: ignore[reportUnknownVariableType, reportUnknownArgumentType]

    @model_validator(mode="after")
    def _is_a_report(self) -> Self:
        if self.video_id > INT64_MAX:
            raise ValueError("subject must be a video's id")
        _check(self.type.kind, self.data)
        return self

    @property
    def video_id(self) -> int:
        """The subject as a number."""
        return int(self.subject)

    def to_report(self, default_time: datetime | None) -> GenerationReport:
        """Return the report in the event."""
        fields = self.data.model_dump(exclude_unset=True)
        return GenerationReport(kind=self.type.kind, time=self.time or default_time, **fields)


class GenerationState(Frozen):
    """The state of a video's generation after a report."""

    video_id: int
    applied: bool
    """Whether the report changed anything. false is not an error: do not send it again."""
    reason: str | None
    """Why not: `behind` (a later report was applied before), `repeated` (a duplicate)."""
    run: int
    status: str
    internal_status: str
    generation_progress: int
    is_regenerating: bool


def _check(kind: ReportKind, data: ReportData) -> None:
    """Raise ValueError for a field that does not belong to a report of this kind."""
    foreign = [
        field
        for field, owner in _KIND_OF_FIELD.items()
        if owner is not kind and getattr(data, field) is not None
    ]
    if foreign:
        raise ValueError(f"a '{kind}' report does not accept {', '.join(foreign)}")
    if data.internal_status in _NO_STAGES:
        raise ValueError(
            f"internal_status must be a stage: send a '{data.internal_status}' report instead"
        )
    if data.duration is not None and data.video is None:
        raise ValueError("duration requires video: it is the length of that file")
