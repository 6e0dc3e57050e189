"""The plan: what a publish would do now, gate by gate, without doing it."""

from sqlalchemy import Engine
from uuid_utils.compat import uuid7

from db.commands.inbox import PATIENCE
from db.session import transaction
from db.videos import facts_and_release
from publish_worker_client.events.names import Trigger
from schemas.command import CommandState
from schemas.plan import PlannedOutcome, PublishPlan
from schemas.values.decision import Decision
from schemas.values.video_facts import ClaimedCommand, Names, VideoFacts
from schemas.video_list import ListedPlan
from worker.rules import readiness
from worker.rules.custom_url import to_absolute_url
from worker.rules.decision import build_release, decide

WOULD_BE_PUBLISHED = "The video would be published."
_NO_NAMES = Names(categories={}, subcategories={}, tags={})


def plan(
    engine: Engine, video_id: int, workspace_id: int | None, base_url: str
) -> PublishPlan | None:
    """Plan a publish without a body; None if there is no such video in the caller's workspace."""
    with transaction(engine) as tx:
        video = facts_and_release.read_facts(tx, [video_id]).get(video_id)
    if video is None or (workspace_id is not None and video.workspace_id != workspace_id):
        return None
    decision = decide_plan(video, base_url)
    release = build_release(video)
    return PublishPlan(
        video_id=video.id,
        would_be=PlannedOutcome(decision.state),
        readiness=readiness.assess(video),
        is_draft=video.is_draft,
        custom_url=release.custom_url,
        url=to_absolute_url(base_url, release.custom_url),
        revision=decision.release.revision if decision.release else video.revision,
        metrics=release.metrics,
    )


def decide_plan(video: VideoFacts, base_url: str) -> Decision:
    """Decide a publish without a body, as a worker would now; nothing is written."""
    return decide(_build_command(video), video, _NO_NAMES, base_url)


def describe_plan(video: VideoFacts, base_url: str) -> ListedPlan:
    """Describe the plan in short."""
    decision = decide_plan(video, base_url)
    return ListedPlan(
        would_be=PlannedOutcome(decision.state),
        reason=decision.reason,
        detail=decision.detail or WOULD_BE_PUBLISHED,
    )


def _build_command(video: VideoFacts) -> ClaimedCommand:
    """A command that asks for nothing but the publication, now."""
    return ClaimedCommand(
        id=uuid7(),
        video_id=video.id,
        workspace_id=video.workspace_id,
        state=CommandState.SCHEDULED,
        trigger=Trigger.API,
        edits=None,
        accepted_at=video.now,
        due_at=video.now,
        patient_until=video.now + PATIENCE,
        checks=0,
        attempts=0,
        correlation_id="plan",
        traceparent=None,
        video_held=True,
        video_exists=True,
        was_published=video.first_published_at is not None,
        now=video.now,
    )
