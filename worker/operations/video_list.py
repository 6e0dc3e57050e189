"""The list of videos: a page of them, each with its commands and its plan."""

from dataclasses import dataclass

from sqlalchemy import Engine

from db.session import transaction
from db.videos import facts_and_release, listing
from db.videos.listing import VideoCommands
from publish_worker_client.events.names import Action
from schemas.command import CommandState
from schemas.plan import Verdict
from schemas.values.video_facts import VideoFacts
from schemas.video_list import (
    LastFailure,
    NextCommand,
    VideoFilter,
    VideoState,
    VideoSummary,
)
from worker.publish.plan import describe_plan
from worker.rules import readiness


@dataclass(frozen=True, slots=True, kw_only=True)
class VideoPage:
    """A page of videos, the highest id first."""

    videos: list[VideoSummary]
    next_before: int | None
    """The `before` of the next page. None: this is the last one."""
    is_partial: bool
    """Whether the search stopped before the page was full."""


def list_videos(
    engine: Engine, wanted: VideoFilter, workspace_id: int | None, base_url: str
) -> VideoPage:
    """Return a page of videos in a caller's workspace (None: in any), with their plans.

    A fixed number of statements, each of which reads a limited number of rows.
    """
    if workspace_id is not None and wanted.workspace_id not in (None, workspace_id):
        return VideoPage(videos=[], next_before=None, is_partial=False)
    within = workspace_id if workspace_id is not None else wanted.workspace_id
    with transaction(engine) as tx:
        found = listing.find_page(tx, wanted, within)
        commands = listing.read_commands(tx, found.ids)
        facts = facts_and_release.read_facts_for_plans(tx, found.ids)
    return VideoPage(
        videos=[
            _summarize(facts[video_id], commands[video_id], base_url)
            for video_id in found.ids
            if video_id in facts
        ],
        next_before=found.next_before,
        is_partial=found.is_partial,
    )


def _summarize(video: VideoFacts, commands: VideoCommands, base_url: str) -> VideoSummary:
    return VideoSummary(
        id=video.id,
        workspace_id=video.workspace_id,
        title=video.title,
        owner_username=video.owner_username,
        status=video.status,
        internal_status=video.internal_status,
        is_draft=video.is_draft,
        visibility=video.visibility,
        states=_list_states(video, commands),
        tags=list(video.tags),
        custom_url=video.custom_url,
        published_at=video.published_at,
        next_command=_to_next_command(commands),
        last_failure=_to_last_failure(commands),
        plan=describe_plan(video, base_url),
    )


def _list_states(video: VideoFacts, commands: VideoCommands) -> list[VideoState]:
    """Return the states of a video, as the filter of the list finds them."""
    holds = {
        VideoState.DRAFT: video.is_draft,
        VideoState.PUBLISHED: video.published_at is not None and not video.is_draft,
        VideoState.SCHEDULED: commands.is_scheduled,
        VideoState.WAITING: commands.is_waiting,
        VideoState.FAILED: commands.failure_id is not None,
        VideoState.BLOCKED: readiness.get_verdict(video) is Verdict.NEVER,
    }
    return [state for state, is_met in holds.items() if is_met]


def _to_next_command(commands: VideoCommands) -> NextCommand | None:
    if commands.next_id is None or commands.next_due_at is None:
        return None
    return NextCommand(
        id=commands.next_id,
        action=Action(commands.next_action),
        state=CommandState(commands.next_state),
        due_at=commands.next_due_at,
    )


def _to_last_failure(commands: VideoCommands) -> LastFailure | None:
    if commands.failure_id is None:
        return None
    return LastFailure(
        id=commands.failure_id,
        action=Action(commands.failure_action),
        state=CommandState(commands.failure_state),
        reason=commands.failure_reason,
        detail=commands.failure_detail,
        finished_at=commands.failure_finished_at,
    )
