"""Command events: what is recorded about a command. The canary's commands record none."""

from collections.abc import Iterable
from datetime import datetime

from uuid_utils import uuid7

from publish_worker_client.events.data import (
    EventData,
    Person,
    PublicTrigger,
    PublishEnded,
    PublishScheduled,
    VideoPublished,
    VideoUnpublished,
)
from publish_worker_client.events.names import Action, EventType, Trigger, Visibility
from schemas.command import CommandState
from schemas.values.decision import NewEvent, Release
from schemas.values.video_facts import ClaimedCommand, VideoFacts
from worker.rules.custom_url import to_absolute_url
from worker.rules.event_size import MAX_CUT, limit_size
from worker.rules.media import to_media_url

_ENDED_EVENTS = {
    CommandState.REJECTED: EventType.REJECTED,
    CommandState.EXPIRED: EventType.EXPIRED,
    CommandState.CANCELLED: EventType.CANCELLED,
    CommandState.FAILED: EventType.FAILED,
}


def build_published_event(
    command: ClaimedCommand,
    video: VideoFacts,
    release: Release,
    base_url: str,
    media_base_url: str | None = None,
) -> NewEvent | None:
    """Build `video.published`: the video became public, or its release changed."""
    data = VideoPublished(
        video_id=video.id,
        uid=video.uid,
        workspace_id=video.workspace_id,
        title=video.title,
        description=video.description,
        visibility=Visibility(video.visibility),
        custom_url=release.custom_url,
        url=to_absolute_url(base_url, release.custom_url),
        video=to_media_url(media_base_url, video.video) or "",
        thumbnail=to_media_url(media_base_url, video.thumbnail),
        cover_image=to_media_url(media_base_url, video.cover_image),
        duration=video.duration,
        owner=Person(
            id=video.owner_id, username=video.owner_username, full_name=video.owner_full_name
        ),
        category=video.category,
        subcategory=video.subcategory,
        tags=list(video.tags),
        metrics=release.metrics,
        revision=release.revision,
        first_publication=video.first_published_at is None,
        first_published_at=release.first_published_at,
        published_at=release.published_at,
        trigger=public_trigger(get_last_trigger(command)),
        accepted_at=command.accepted_at,
        asked_for=command.asked_for,
        due_at=get_due_since(command),
    )
    return _build_event(command, EventType.PUBLISHED, video.now, data, release.revision)


def build_unpublished_event(
    command: ClaimedCommand, video: VideoFacts, release: Release, base_url: str
) -> NewEvent | None:
    """Build `video.unpublished`: the video became a draft again."""
    data = VideoUnpublished(
        video_id=video.id,
        uid=video.uid,
        workspace_id=video.workspace_id,
        title=video.title,
        custom_url=release.custom_url,
        url=to_absolute_url(base_url, release.custom_url),
        revision=release.revision,
        first_publication=False,
        first_published_at=release.first_published_at,
        published_at=release.published_at,
        unpublished_at=video.now,
        trigger=public_trigger(get_last_trigger(command)),
        accepted_at=command.accepted_at,
        asked_for=command.asked_for,
        due_at=get_due_since(command),
    )
    return _build_event(command, EventType.UNPUBLISHED, video.now, data, release.revision)


def build_scheduled_event(
    command: ClaimedCommand,
    kind: EventType,
    trigger: Trigger,
    previously: datetime | None = None,
) -> NewEvent | None:
    """Build an event of `kind`: the command has a time, or another one than `previously`."""
    data = PublishScheduled(
        video_id=command.video_id,
        workspace_id=command.workspace_id,
        action=Action(command.action),
        first_publication=not command.was_published,
        trigger=public_trigger(trigger),
        accepted_at=command.accepted_at,
        asked_for=command.asked_for,
        local_time=command.local_time,
        time_zone=command.time_zone,
        due_at=command.due_at,
        publish_before=command.publish_before,
        previously=previously,
        scheduled_at=command.now,
    )
    return _build_event(command, kind, command.now, data)


def build_announcements(commands: Iterable[ClaimedCommand]) -> list[NewEvent]:
    """Build the first events of those commands that were enqueued in SQL for a later time.

    They are recorded before any other event of the command; one for now has none.
    """
    events = [
        build_scheduled_event(each, EventType.SCHEDULED, Trigger(each.trigger))
        for each in commands
        if not each.is_announced and each.asked_for and each.asked_for > each.accepted_at
    ]
    return [event for event in events if event]


def build_ended_event(
    command: ClaimedCommand,
    state: CommandState,
    now: datetime,
    reason: str,
    detail: str,
    trigger: Trigger | None,
) -> NewEvent | None:
    """Build the event of a command that ended as `state` and changed nothing.

    `trigger` ended it; None: whatever triggered the command.
    """
    data = PublishEnded(
        video_id=command.video_id,
        workspace_id=command.workspace_id,
        action=Action(command.action),
        reason=reason,
        detail=detail,
        first_publication=not command.was_published,
        trigger=public_trigger(trigger or get_last_trigger(command)),
        accepted_at=command.accepted_at,
        asked_for=command.asked_for,
        due_at=get_due_since(command),
        finished_at=now,
    )
    return _build_event(command, _ENDED_EVENTS[state], now, data)


def get_last_trigger(command: ClaimedCommand) -> Trigger:
    """Return what triggered the execution: the condition that was fulfilled last."""
    if command.state == CommandState.WAITING:
        return Trigger.PIPELINE
    if command.asked_for is not None and command.asked_for > command.accepted_at:
        return Trigger.SCHEDULE
    return Trigger(command.trigger)


def get_due_since(command: ClaimedCommand) -> datetime:
    """Return when it first fell due: lateness counts from here, whatever postponed it since."""
    return command.fell_due_at or command.due_at


def _build_event(
    command: ClaimedCommand,
    kind: EventType,
    now: datetime,
    data: EventData,
    revision: int | None = None,
) -> NewEvent | None:
    if command.trigger == Trigger.CANARY:
        return None
    return NewEvent(
        id=str(uuid7()),
        type=kind,
        video_id=command.video_id,
        workspace_id=command.workspace_id,
        occurred_at=now,
        revision=revision,
        command_id=command.id,
        correlation_id=command.correlation_id[:MAX_CUT],
        traceparent=command.traceparent,
        data=limit_size(data),
    )


def public_trigger(trigger: Trigger) -> PublicTrigger:
    """Return the trigger that an event names; the canary counts as a schedule."""
    return Trigger.SCHEDULE if trigger is Trigger.CANARY else trigger
