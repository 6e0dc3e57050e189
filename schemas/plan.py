"""The plan: what a publish would do now, gate by gate."""

from enum import StrEnum

from schemas.fields import Frozen
from schemas.metrics import Metrics


class Verdict(StrEnum):
    """What readiness says of a video."""

    READY = "ready"
    NOT_YET = "not_yet"
    """Ask again later: not a failure."""
    NEVER = "never"


class Gate(Frozen):
    """One question that readiness asks, and its answer."""

    name: str
    verdict: Verdict
    reason: str | None = None
    """A word for programs, such as `generation_failed`; None when the gate is open."""
    detail: str
    """The same for people."""


class Readiness(Frozen):
    """The verdict on a video: its worst gate's."""

    gates: tuple[Gate, ...]
    verdict: Verdict
    reason: str | None
    detail: str


class PlannedOutcome(StrEnum):
    """What a publish would do now."""

    PUBLISHED = "published"
    UNCHANGED = "unchanged"
    WAITING = "waiting"
    REJECTED = "rejected"


class PublishPlan(Frozen):
    """What `POST …/publish/` without a body would do now, without doing it."""

    video_id: int
    outcome: PlannedOutcome
    readiness: Readiness
    is_draft: bool
    custom_url: str
    url: str
    revision: int
    """The release's revision after this publish."""
    metrics: Metrics
