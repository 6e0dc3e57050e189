"""Generation reports: a pipeline's reports on a video's generation, and the state after them."""

import re
from datetime import datetime
from enum import StrEnum
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator
from pydantic import StringConstraints as Constraints

from schemas.cloud_event_data import read_data
from schemas.fields import INT32_MAX, INT64_MAX, Frozen, Name, Text, Time, Uri
from schemas.video import InternalStatus

MAX_RUN = 1_000_000
TYPE_PREFIX = "video.generation."
_RFC_3339 = re.compile(
    r"\d{4}-\d{2}-\d{2}[Tt ]\d{2}:\d{2}:\d{2}(\.\d+)?([Zz]|[+-]\d{2}:\d{2})", re.ASCII
)


class ReportKind(StrEnum):
    """The kind of a report."""

    PROGRESSED = "progressed"
    COMPLETED = "completed"
    FAILED = "failed"


def _require_rfc_3339(value: object) -> object:
    if isinstance(value, str) and not _RFC_3339.fullmatch(value):
        raise ValueError("must be an RFC 3339 time with an offset, such as 2026-11-24T09:00:00Z")
    return value


ReportTime = Annotated[Time, BeforeValidator(_require_rfc_3339)]
"""A time on the pipeline's clock."""
Run = Annotated[int, Field(strict=True, ge=1, le=MAX_RUN)]
Progress = Annotated[int, Field(strict=True, ge=0, le=100)]
Seconds = Annotated[int, Field(strict=True, ge=0, le=INT32_MAX)]
Detail = Annotated[Text, Constraints(max_length=2000)]

_KIND_OF_FIELD = {
    "internal_status": ReportKind.PROGRESSED,
    "generation_progress": ReportKind.PROGRESSED,
    "video": ReportKind.COMPLETED,
    "duration": ReportKind.COMPLETED,
    "detail": ReportKind.FAILED,
}


class ReportData(Frozen):
    """A report's fields other than its kind and its time."""

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


class GenerationEvent(BaseModel):
    """A report on the stream: CloudEvents 1.0, structured JSON.

    Extension attributes of any type are ignored, and an attribute that is null counts as absent.
    `data_base64`, with the bytes of a JSON document, may replace `data`.
    """

    model_config = ConfigDict(frozen=True, extra="ignore", use_attribute_docstrings=True)

    specversion: Literal["1.0"]
    id: Annotated[Text, Constraints(min_length=1)]
    source: Annotated[Text, Constraints(min_length=1)]
    type: GenerationEventType
    subject: Annotated[Text, Constraints(pattern=r"^[1-9][0-9]{0,18}$")]
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
    if data.internal_status in (InternalStatus.COMPLETED, InternalStatus.FAILED):
        raise ValueError(
            f"internal_status must be a stage: send a '{data.internal_status}' report instead"
        )
    if data.duration is not None and data.video is None:
        raise ValueError("duration requires video: it is the length of that file")
