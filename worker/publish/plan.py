"""The plan: what a publish would do now, gate by gate, without doing it."""

from dataclasses import dataclass, replace
from datetime import datetime

from sqlalchemy import Engine
from uuid_utils.compat import uuid7

from db.commands.inbox import PATIENCE
from db.session import transaction
from db.videos import facts_and_release
from publish_worker_client.events.names import Trigger
from schemas.command import CommandState, PublishRequest
from schemas.plan import PlannedOutcome, PublishPlan
from schemas.values.decision import Decision
from schemas.values.video_facts import ClaimedCommand, Names, VideoFacts
from schemas.video_list import ListedPlan
from worker.publish.run import read_names
from worker.rules import readiness
from worker.rules.custom_url import to_absolute_url
from worker.rules.decision import build_release, decide
from worker.rules.edits import apply_changes, find_changes
from worker.rules.media import to_stored_edits

WOULD_BE_PUBLISHED = "The video would be published."


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedPublish:
    """A publish with options, whose request has passed the checks."""

    request: PublishRequest
    ends_at: datetime | None
    """When it would be unpublished again. None: no window."""
    media_base_url: str | None


_NO_NAMES = Names(categories={}, subcategories={}, tags={})


def plan(
    engine: Engine,
    video_id: int,
    workspace_id: int | None,
    base_url: str,
    wanted: PlannedPublish | None = None,
) -> PublishPlan | None:
    """Plan a publish, as a worker would carry it out now; None: at once, without a body.

    Returns None if there is no such video in the caller's workspace.
    """
    request = wanted and wanted.request
    found = request and request.to_edits()
    edits = found.model_dump(mode="json", exclude_unset=True) if found else None
    with transaction(engine) as tx:
        video = facts_and_release.read_facts(tx, [video_id]).get(video_id)
        names = read_names(tx, [edits]) if edits else _NO_NAMES
    if video is None or (workspace_id is not None and video.workspace_id != workspace_id):
        return None
    command = replace(_build_command(video), edits=edits)
    if request:
        command.publish_before = request.publish_before
        command.expected_revision = request.expected_revision
        command.expected_etag = request.expected_etag
    media_base_url = wanted and wanted.media_base_url
    command.counterpart_at = wanted and wanted.ends_at
    decision = decide(command, video, names, base_url, media_base_url)
    stored = edits and to_stored_edits(media_base_url or None, edits)
    edited = apply_changes(video, find_changes(video, stored), names)
    release = decision.release or build_release(edited)
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
