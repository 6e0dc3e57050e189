"""The story of a video: its state, its address, and each step that is known."""

from collections.abc import Iterator, Sequence

from sqlalchemy import Engine

from db.commands import attempts as failed_attempts
from db.commands.attempts import FailedAttempt
from db.session import transaction
from db.videos import facts_and_release
from db.videos import story as rows
from db.videos.story import StoryAttempt, StoryCommand, StoryDelivery, StoryEvent, StoryState
from schemas.command import CommandState
from schemas.story import LastReport, Omission, StoryEntry, VideoStory
from schemas.values.video_facts import VideoFacts
from worker.operations import story_entries as entries
from worker.publish.plan import describe_plan
from worker.rules.custom_url import compute_short_id, to_absolute_url


def read_story(
    engine: Engine, video_id: int, workspace_id: int | None, base_url: str
) -> VideoStory | None:
    """Return the story of a video, the newest step first.

    None: there is no such video in the caller's workspace (None: in any). Eight statements,
    however much has happened.
    """
    with transaction(engine) as tx:
        video = facts_and_release.read_facts(tx, [video_id]).get(video_id)
        if video is None or workspace_id not in (None, video.workspace_id):
            return None
        state = rows.read_state(tx, video_id)
        commands = rows.read_commands(tx, video_id, video.workspace_id)
        failed = failed_attempts.read_last(tx, [each.id for each in commands[: rows.MAX_COMMANDS]])
        events = rows.find_events(tx, commands)
        positions = [event.position for event in events]
        deliveries = rows.read_deliveries(tx, positions, video.workspace_id)
        attempts = rows.read_attempts(tx, deliveries[: rows.MAX_DELIVERIES])
    steps = [
        entries.build_created(state),
        *entries.list_reports(state),
        *entries.list_command_steps(commands[: rows.MAX_COMMANDS]),
        *entries.list_failed_attempts(commands, failed),
        *entries.list_events(events),
        *entries.list_delivery_steps(deliveries[: rows.MAX_DELIVERIES], attempts),
    ]
    steps.sort(key=lambda step: step.at, reverse=True)
    omitted = list(_find_omissions(state, commands, failed, events, deliveries, attempts))
    return _build_story(video, state, events, base_url, steps, omitted)


def _build_story(
    video: VideoFacts,
    state: StoryState,
    events: Sequence[StoryEvent],
    base_url: str,
    steps: list[StoryEntry],
    omitted: list[Omission],
) -> VideoStory:
    path = video.custom_url
    is_public = path is not None and state.withdrawn_at is None and not video.is_draft
    return VideoStory(
        video_id=video.id,
        workspace_id=video.workspace_id,
        title=video.title,
        owner_username=video.owner_username,
        status=video.status,
        internal_status=video.internal_status,
        is_draft=video.is_draft,
        plan=describe_plan(video, base_url),
        generation=_to_report(state),
        custom_url=path,
        url=to_absolute_url(base_url, path) if path else None,
        former_urls=sorted({e.custom_url for e in events if e.custom_url} - {path or ""}),
        short_id=compute_short_id(video.uid),
        is_redirected=is_public and video.is_active and video.deleted_at is None,
        revision=video.revision,
        first_published_at=video.first_published_at,
        published_at=video.published_at,
        withdrawn_at=state.withdrawn_at,
        metrics=state.metrics,
        entries=steps,
        omitted=omitted,
    )


def _to_report(state: StoryState) -> LastReport | None:
    if state.run is None or state.reported_at is None:
        return None
    return LastReport(
        run=state.run,
        is_final=bool(state.is_final),
        reported_at=state.reported_at,
        progress=state.progress or 0,
        completed=bool(state.completed),
        detail=state.detail,
    )


def _find_omissions(
    state: StoryState,
    commands: Sequence[StoryCommand],
    failed: Sequence[FailedAttempt],
    events: Sequence[StoryEvent],
    deliveries: Sequence[StoryDelivery],
    attempts: Sequence[StoryAttempt],
) -> Iterator[Omission]:
    if state.run is not None:
        yield Omission.EARLIER_REPORTS
    if len(commands) > rows.MAX_FOLLOWED:
        yield Omission.OLDER_COMMANDS
    if _misses_an_event(commands[: rows.MAX_FOLLOWED], events):
        yield Omission.EVENTS
    if len(deliveries) > rows.MAX_DELIVERIES:
        yield Omission.OLDER_DELIVERIES
    is_cut = any(each.nth_last > failed_attempts.MAX_SHOWN for each in failed)
    if is_cut or sum(each.attempts for each in deliveries[: rows.MAX_DELIVERIES]) > len(attempts):
        yield Omission.EARLIER_ATTEMPTS


def _misses_an_event(commands: Sequence[StoryCommand], events: Sequence[StoryEvent]) -> bool:
    """Whether the event of an outcome was not found. An `unchanged` command has none."""
    found = {event.command_id for event in events}
    return any(
        command.finished_at is not None
        and command.state != CommandState.UNCHANGED
        and command.id not in found
        for command in commands
    )
