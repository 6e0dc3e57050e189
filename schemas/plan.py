"""The plan: the result that a publish would have now, with every check of readiness."""

from enum import StrEnum

from publish_worker_client.events.metrics import Metrics
from schemas.fields import Frozen


class Verdict(StrEnum):
    """The result of one check, or of all checks, of readiness."""

    READY = "ready"
    NOT_YET = "not_yet"
    """Checked again later. Not a failure."""
    NEVER = "never"


class Gate(Frozen):
    """One check of readiness, and its result."""

    name: str
    verdict: Verdict
    reason: str | None = None
    """A code for programs, such as `generation_failed`. null: the check passed."""
    detail: str
    """The result, for people."""


class Readiness(Frozen):
    """The verdict on a video: the worst verdict of its checks."""

    gates: tuple[Gate, ...]
    verdict: Verdict
    reason: str | None
    detail: str


class PlannedOutcome(StrEnum):
    """The outcome or state that a publish would have now."""

    PUBLISHED = "published"
    UNCHANGED = "unchanged"
    WAITING = "waiting"
    REJECTED = "rejected"
    EXPIRED = "expired"
    """The deadline has passed. Only the command line plans with one."""


class PublishPlan(Frozen):
    """The result that `POST …/publish/` without a body would have now. Nothing is written."""

    video_id: int
    would_be: PlannedOutcome
    """The outcome or state that the command would have."""
    readiness: Readiness
    is_draft: bool
    custom_url: str
    url: str
    revision: int
    """The revision of the release after the publish."""
    metrics: Metrics
