"""What becomes of a claimed command: a pure rule, shared by the worker and the plan."""

from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

from uuid_utils.compat import uuid7

from schemas.command import Action, CommandState, Trigger
from schemas.decision import ALREADY_PUBLISHED, Decision, NewEvent, Release
from schemas.events import (
    EventData,
    EventType,
    Person,
    PublishEnded,
    PublishScheduled,
    SetOffBy,
    VideoPublished,
    VideoUnpublished,
)
from schemas.facts import ClaimedCommand, Names, VideoFacts
from schemas.plan import Readiness, Verdict
from schemas.video import Visibility
from worker import custom_url, metrics, readiness
from worker.etag import etag, matches

MAX_ATTEMPTS = 5
LONGEST_PAUSE = timedelta(minutes=1)
HELD_PAUSE = timedelta(milliseconds=200)
"""How long a command stands aside while somebody else holds the video's row."""

NOT_PUBLISHED = ("not_published", "The video is not published, so there is nothing to withdraw.")
_ENDED = {
    CommandState.REJECTED: EventType.REJECTED,
    CommandState.EXPIRED: EventType.EXPIRED,
    CommandState.CANCELLED: EventType.CANCELLED,
    CommandState.FAILED: EventType.FAILED,
}


def decide(
    command: ClaimedCommand, video: VideoFacts | None, names: Names, base_url: str
) -> Decision:
    """Decide one command, given its video's facts (None: no such video, or held by others)."""
    now = video.now if video else command.now
    if video and video.workspace_id != command.workspace_id:
        video = None  # moved since: what lies in another workspace does not exist for a command
    latest = latest_moment(command)
    if latest is not None and now > latest:
        detail = "The latest moment that made sense has passed; nothing was published."
        return _expired(command, now, "deadline_passed", detail)
    if command.video_exists and not command.video_held:
        return _stand_aside(command, now)
    if video is None:
        return _rejected(command, readiness.judge(None), now)
    if mismatch := _unexpected(command, video):
        return ended(command, CommandState.REJECTED, now, "video_changed", mismatch)
    if command.action == Action.UNPUBLISH:
        return _unpublish_if_out(command, video, base_url)
    return _publish_if_ready(command, video, names, base_url)


def _publish_if_ready(
    command: ClaimedCommand, video: VideoFacts, names: Names, base_url: str
) -> Decision:
    now = video.now
    verdict = readiness.verdict_of(video)
    if verdict is Verdict.NEVER:
        return _rejected(command, readiness.judge(video), now)
    changes = changed(video, command.edits)
    if not video.is_draft and not changes:
        return _unchanged(command, now, *ALREADY_PUBLISHED)
    if verdict is Verdict.NOT_YET:
        return _wait(command, readiness.judge(video), now)
    return _publish(command, edited(video, changes, names), changes, base_url)


def after(decision: Decision, video: VideoFacts, names: Names) -> VideoFacts:
    """The video's facts once the decision is written, for the next command in the batch."""
    release = decision.release
    if release is None:
        return video
    return replace(
        edited(video, decision.changes or {}, names),
        is_draft=release.withdrawn_at is not None,
        updated_at=release.withdrawn_at or release.published_at,
        revision=release.revision,
        custom_url=release.custom_url,
        first_published_at=release.first_published_at,
        published_at=release.published_at,
    )


def after_failure(command: ClaimedCommand, error: Exception) -> Decision:
    """Back off, or set the command aside as `failed` after its last attempt."""
    attempts = command.attempts + 1
    detail = f"{type(error).__name__}: {error}"[:2000].replace("\x00", "")
    if attempts >= MAX_ATTEMPTS:
        failed = ended(command, CommandState.FAILED, command.now, "error", detail)
        return replace(failed, attempts=attempts)
    return replace(
        _unfinished(command, CommandState(command.state), command.now + pause(attempts)),
        reason="error",
        detail=detail,
        attempts=attempts,
    )


def changed(video: VideoFacts, edits: dict[str, Any] | None) -> dict[str, Any]:
    """The edits that differ from what the video has, by column (`tags` by field)."""
    if not edits:
        return {}
    has = {
        "title": video.title,
        "description": video.description,
        "visibility": video.visibility,
        "category_id": video.category_id,
        "subcategory_id": video.subcategory_id,
        "tags": sorted(video.tag_ids),
        "cover_image": video.cover_image,
        "thumbnail": video.thumbnail,
    }
    wanted = {_column(field): value for field, value in edits.items()}
    return {column: value for column, value in wanted.items() if has[column] != value}


def edited(video: VideoFacts, changes: dict[str, Any], names: Names) -> VideoFacts:
    """The video's facts with the changes applied, names looked up."""
    if not changes:
        return video
    plain = {column: value for column, value in changes.items() if column != "tags"}
    if "category_id" in changes:
        plain["category"] = names.categories.get(changes["category_id"])
    if "subcategory_id" in changes:
        plain["subcategory"] = names.subcategories.get(changes["subcategory_id"])
    if "tags" in changes:
        plain["tag_ids"] = tuple(changes["tags"])
        plain["tags"] = tuple(names.tags[tag] for tag in changes["tags"] if tag in names.tags)
    return replace(video, **plain)


def pause(times: int) -> timedelta:
    """How long to wait after having asked so often: 1 s, 2 s, 4 s … at most a minute."""
    return min(timedelta(seconds=2 ** min(times - 1, 10)), LONGEST_PAUSE)


def release_of(video: VideoFacts) -> Release:
    """What the video would have out if it were published as it is now."""
    short_id = custom_url.short_id(video.uid)
    return Release(
        video_id=video.id,
        short_id=short_id,
        custom_url=custom_url.path(video.workspace_url, video.title, short_id),
        metrics=metrics.compute(video),
        revision=video.revision + 1,
        first_published_at=video.first_published_at or video.now,
        published_at=video.now,
    )


def ended(
    command: ClaimedCommand,
    state: CommandState,
    now: datetime,
    reason: str,
    detail: str,
    trigger: Trigger | None = None,
) -> Decision:
    """The outcomes that change nothing, each with the event that says why and what set it off."""
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
        due_at=_fell_due_at(command),
        finished_at=now,
    )
    return replace(
        _unfinished(command, state, command.due_at),
        reason=reason,
        detail=detail,
        finished_at=now,
        event=event(command, _ENDED[state], now, data),
    )


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
    return event(command, kind, command.now, data)


def latest_moment(command: ClaimedCommand) -> datetime | None:
    """The last moment at which it may be carried out: said, or the end of its window."""
    ends_at = command.counterpart_at if command.action == Action.PUBLISH else None
    return min(filter(None, (command.publish_before, ends_at)), default=None)


def set_off_by(command: ClaimedCommand) -> Trigger:
    """What set off that the command was carried out: whichever of its conditions came last."""
    if command.state == CommandState.WAITING:
        return Trigger.PIPELINE
    if command.asked_for is not None and command.asked_for > command.accepted_at:
        return Trigger.SCHEDULE
    return Trigger(command.trigger)


def event(
    command: ClaimedCommand,
    kind: EventType,
    now: datetime,
    data: EventData,
    revision: int | None = None,
) -> NewEvent | None:
    """A new event about a command; of the canary's, nobody is told."""
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


def _unexpected(command: ClaimedCommand, video: VideoFacts) -> str | None:
    """How the video differs from what the caller expected; None if it does not."""
    expected, etag_expected = command.expected_revision, command.expected_etag
    if expected is not None and expected != video.revision:
        return f"The video is at revision {video.revision}; revision {expected} was expected."
    if etag_expected is None:
        return None
    if not matches(etag_expected, etag(video.id, video.revision, video.updated_at)):
        return "The video was changed since the version that was expected."
    return None


def _expired(command: ClaimedCommand, now: datetime, reason: str, detail: str) -> Decision:
    """Too late: it is the time that ends the command."""
    return ended(command, CommandState.EXPIRED, now, reason, detail, Trigger.SCHEDULE)


def _rejected(command: ClaimedCommand, judged: Readiness, now: datetime) -> Decision:
    return ended(command, CommandState.REJECTED, now, judged.reason or "", judged.detail)


def _unpublish_if_out(command: ClaimedCommand, video: VideoFacts, base_url: str) -> Decision:
    if video.is_draft:
        return _unchanged(command, video.now, *NOT_PUBLISHED)
    return _unpublish(command, video, base_url)


def _unpublish(command: ClaimedCommand, video: VideoFacts, base_url: str) -> Decision:
    """Withdraw the video. One that the platform published before us gets its release only now."""
    fresh = release_of(video)
    release = replace(
        fresh,
        custom_url=video.custom_url or fresh.custom_url,
        published_at=video.published_at or video.now,
        withdrawn_at=video.now,
    )
    data = VideoUnpublished(
        video_id=video.id,
        uid=video.uid,
        workspace_id=video.workspace_id,
        title=video.title,
        custom_url=release.custom_url,
        url=custom_url.absolute_url(base_url, release.custom_url),
        revision=release.revision,
        first_publication=False,
        first_published_at=release.first_published_at,
        published_at=release.published_at,
        unpublished_at=video.now,
        trigger=_told(set_off_by(command)),
        accepted_at=command.accepted_at,
        asked_for=command.asked_for,
        due_at=_fell_due_at(command),
    )
    return replace(
        _unfinished(command, CommandState.UNPUBLISHED, command.due_at),
        finished_at=video.now,
        release=release,
        event=event(command, EventType.UNPUBLISHED, video.now, data, release.revision),
    )


def _publish(
    command: ClaimedCommand, video: VideoFacts, changes: dict[str, Any], base_url: str
) -> Decision:
    release = release_of(video)
    data = VideoPublished(
        video_id=video.id,
        uid=video.uid,
        workspace_id=video.workspace_id,
        title=video.title,
        description=video.description,
        visibility=Visibility(video.visibility),
        custom_url=release.custom_url,
        url=custom_url.absolute_url(base_url, release.custom_url),
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
        due_at=_fell_due_at(command),
    )
    return replace(
        _unfinished(command, CommandState.PUBLISHED, command.due_at),
        finished_at=video.now,
        changes=changes or None,
        release=release,
        event=event(command, EventType.PUBLISHED, video.now, data, release.revision),
    )


def _unchanged(command: ClaimedCommand, now: datetime, reason: str, detail: str) -> Decision:
    return replace(
        _unfinished(command, CommandState.UNCHANGED, command.due_at),
        reason=reason,
        detail=detail,
        finished_at=now,
    )


def _wait(command: ClaimedCommand, judged: Readiness, now: datetime) -> Decision:
    """Wait for generation, but not for ever; nothing is late while it waits."""
    if latest_moment(command) is None and now > command.patient_until:
        detail = f"Generation had not ended when the patience of a day did: {judged.detail}"
        return _expired(command, now, "generation_overdue", detail)
    checks = command.checks + 1
    latest = latest_moment(command) or command.patient_until
    return replace(
        _unfinished(command, CommandState.WAITING, min(now + pause(checks), latest)),
        checks=checks,
        reason=judged.reason,
        detail=judged.detail,
        fell_due_at=None,
    )


def _stand_aside(command: ClaimedCommand, now: datetime) -> Decision:
    return replace(
        _unfinished(command, CommandState(command.state), now + HELD_PAUSE),
        reason="video_held",
        detail="Somebody else holds the video's row at this moment.",
    )


def _unfinished(command: ClaimedCommand, state: CommandState, due_at: datetime) -> Decision:
    return Decision(
        command_id=command.id,
        video_id=command.video_id,
        correlation_id=command.correlation_id,
        state=state,
        reason=None,
        detail=None,
        due_at=due_at,
        checks=command.checks,
        attempts=command.attempts,
        fell_due_at=_fell_due_at(command),
        claimed_at=command.now,
        finished_at=None,
    )


def _fell_due_at(command: ClaimedCommand) -> datetime:
    """What its lateness counts from: no postponement of ours makes it less late."""
    return command.fell_due_at or command.due_at


def _told(trigger: Trigger) -> SetOffBy:
    """The trigger as events tell it; the canary's are told to nobody."""
    return Trigger.SCHEDULE if trigger is Trigger.CANARY else trigger


def _column(field: str) -> str:
    return f"{field}_id" if field in ("category", "subcategory") else field
