"""The events about a command, as values; the canary's commands have none."""

from datetime import datetime

from uuid_utils.compat import uuid7

from schemas.command import Action, CommandState, Trigger
from schemas.events import (
    EventData,
    EventType,
    Person,
    PublicTrigger,
    PublishEnded,
    PublishScheduled,
    VideoPublished,
    VideoUnpublished,
)
from schemas.values.decision import NewEvent, Release
from schemas.values.video_facts import ClaimedCommand, VideoFacts
from schemas.video import Visibility
from worker.rules.custom_url import absolute_url

_ENDED = {
    CommandState.REJECTED: EventType.REJECTED,
    CommandState.EXPIRED: EventType.EXPIRED,
    CommandState.CANCELLED: EventType.CANCELLED,
    CommandState.FAILED: EventType.FAILED,
}


def published(
    command: ClaimedCommand, video: VideoFacts, release: Release, base_url: str
) -> NewEvent | None:
    """The video went live, or what it has out changed."""
    data = VideoPublished(
        video_id=video.id,
        uid=video.uid,
        workspace_id=video.workspace_id,
        title=video.title,
        description=video.description,
        visibility=Visibility(video.visibility),
        custom_url=release.custom_url,
        url=absolute_url(base_url, release.custom_url),
        video=video.video or "",
        thumbnail=video.thumbnail,
        cover_image=video.cover_image,
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
        trigger=_told(set_off_by(command)),
        accepted_at=command.accepted_at,
        asked_for=command.asked_for,
        due_at=fell_due_at(command),
    )
    return _event(command, EventType.PUBLISHED, video.now, data, release.revision)


def unpublished(
    command: ClaimedCommand, video: VideoFacts, release: Release, base_url: str
) -> NewEvent | None:
    """The video was withdrawn."""
    data = VideoUnpublished(
        video_id=video.id,
        uid=video.uid,
        workspace_id=video.workspace_id,
        title=video.title,
        custom_url=release.custom_url,
        url=absolute_url(base_url, release.custom_url),
        revision=release.revision,
        first_publication=False,
        first_published_at=release.first_published_at,
        published_at=release.published_at,
        unpublished_at=video.now,
        trigger=_told(set_off_by(command)),
        accepted_at=command.accepted_at,
        asked_for=command.asked_for,
        due_at=fell_due_at(command),
    )
    return _event(command, EventType.UNPUBLISHED, video.now, data, release.revision)


def scheduled(
    command: ClaimedCommand,
    kind: EventType,
    trigger: Trigger,
    previously: datetime | None = None,
) -> NewEvent | None:
    """The event that a command has a time, or another one than `previously`."""
    data = PublishScheduled(
        video_id=command.video_id,
        workspace_id=command.workspace_id,
        action=Action(command.action),
        first_publication=not command.was_published,
        trigger=_told(trigger),
        accepted_at=command.accepted_at,
        asked_for=command.asked_for,
        local_time=command.local_time,
        time_zone=command.time_zone,
        due_at=command.due_at,
        publish_before=command.publish_before,
        previously=previously,
        scheduled_at=command.now,
    )
    return _event(command, kind, command.now, data)


def ended(
    command: ClaimedCommand,
    state: CommandState,
    now: datetime,
    reason: str,
    detail: str,
    trigger: Trigger | None,
) -> NewEvent | None:
    """The command ended and changed nothing; what set that off, unless it is said, the command
    tells.
    """
    data = PublishEnded(
        video_id=command.video_id,
        workspace_id=command.workspace_id,
        action=Action(command.action),
        reason=reason,
        detail=detail,
        first_publication=not command.was_published,
        trigger=_told(trigger or set_off_by(command)),
        accepted_at=command.accepted_at,
        asked_for=command.asked_for,
        due_at=fell_due_at(command),
        finished_at=now,
    )
    return _event(command, _ENDED[state], now, data)


def set_off_by(command: ClaimedCommand) -> Trigger:
    """Return why the command was carried out: the last of its conditions to be met."""
    if command.state == CommandState.WAITING:
        return Trigger.PIPELINE
    if command.asked_for is not None and command.asked_for > command.accepted_at:
        return Trigger.SCHEDULE
    return Trigger(command.trigger)


def fell_due_at(command: ClaimedCommand) -> datetime:
    """What its lateness counts from: no postponement of ours makes it less late."""
    return command.fell_due_at or command.due_at


def _event(
    command: ClaimedCommand,
    kind: EventType,
    now: datetime,
    data: EventData,
    revision: int | None = None,
) -> NewEvent | None:
    if command.trigger == Trigger.CANARY:
        return None
    return NewEvent(
        id=uuid7(),
        type=kind,
        video_id=command.video_id,
        workspace_id=command.workspace_id,
        occurred_at=now,
        revision=revision,
        command_id=command.id,
        correlation_id=command.correlation_id,
        traceparent=command.traceparent,
        data=data,
    )


def _told(trigger: Trigger) -> PublicTrigger:
    """The trigger as events have it; the canary has no events."""
    return Trigger.SCHEDULE if trigger is Trigger.CANARY else trigger
