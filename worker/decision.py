"""What becomes of a claimed command: a pure rule, shared by the worker and the plan."""

from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

from uuid_utils.compat import uuid7

from schemas.command import CommandState, Trigger
from schemas.decision import Decision, NewEvent, Release
from schemas.events import EventType, Person, PublishEnded, VideoPublished
from schemas.facts import ClaimedCommand, Names, VideoFacts
from schemas.plan import Readiness, Verdict
from schemas.video import Visibility
from worker import custom_url, metrics, readiness

MAX_ATTEMPTS = 5
LONGEST_PAUSE = timedelta(minutes=1)
HELD_PAUSE = timedelta(milliseconds=200)
"""How long a command stands aside while somebody else holds the video's row."""

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
    if now > command.publish_before:
        detail = "The latest moment that made sense has passed; nothing was published."
        return ended(command, CommandState.EXPIRED, now, "deadline_passed", detail)
    if command.video_exists and not command.video_held:
        return _stand_aside(command, now)
    verdict = readiness.verdict_of(video) if video else Verdict.NEVER
    if video is None or verdict is Verdict.NEVER:
        judged = readiness.judge(video)
        return ended(command, CommandState.REJECTED, now, judged.reason or "", judged.detail)
    changes = changed(video, command.edits)
    if not video.is_draft and not changes:
        return _unchanged(command, now)
    if verdict is Verdict.NOT_YET:
        return _wait(command, readiness.judge(video), now)
    return _publish(command, edited(video, changes, names), changes, base_url)


def after(decision: Decision, video: VideoFacts, names: Names) -> VideoFacts:
    """The video's facts once the decision is written, for the next command in the batch."""
    if decision.release is None:
        return video
    return replace(
        edited(video, decision.changes or {}, names),
        is_draft=False,
        revision=decision.release.revision,
        first_published_at=decision.release.first_published_at,
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
    command: ClaimedCommand, state: CommandState, now: datetime, reason: str, detail: str
) -> Decision:
    """The outcomes that publish nothing, each with the event that says why."""
    data = PublishEnded(
        video_id=command.video_id,
        workspace_id=command.workspace_id,
        reason=reason,
        detail=detail,
        trigger=Trigger(command.trigger),
        accepted_at=command.accepted_at,
        due_at=command.due_at,
        finished_at=now,
    )
    return replace(
        _unfinished(command, state, command.due_at),
        reason=reason,
        detail=detail,
        finished_at=now,
        event=_event(command, _ENDED[state], now, None, data),
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
        trigger=Trigger(command.trigger),
        accepted_at=command.accepted_at,
        due_at=command.due_at,
    )
    return Decision(
        command_id=command.id,
        video_id=command.video_id,
        correlation_id=command.correlation_id,
        state=CommandState.PUBLISHED,
        reason=None,
        detail=None,
        due_at=command.due_at,
        checks=command.checks,
        attempts=command.attempts,
        finished_at=video.now,
        changes=changes or None,
        release=release,
        event=_event(command, EventType.PUBLISHED, video.now, release.revision, data),
    )


def _unchanged(command: ClaimedCommand, now: datetime) -> Decision:
    return replace(
        _unfinished(command, CommandState.UNCHANGED, command.due_at),
        reason="already_published",
        detail="The video was published already, and the command changes nothing.",
        finished_at=now,
    )


def _wait(command: ClaimedCommand, judged: Readiness, now: datetime) -> Decision:
    checks = command.checks + 1
    due_at = min(now + pause(checks), command.publish_before)
    return replace(
        _unfinished(command, CommandState.WAITING, due_at),
        checks=checks,
        reason=judged.reason,
        detail=judged.detail,
    )


def _stand_aside(command: ClaimedCommand, now: datetime) -> Decision:
    return _unfinished(command, CommandState(command.state), now + HELD_PAUSE)


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
        finished_at=None,
    )


def _event(
    command: ClaimedCommand,
    kind: EventType,
    now: datetime,
    revision: int | None,
    data: VideoPublished | PublishEnded,
) -> NewEvent:
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


def _column(field: str) -> str:
    return f"{field}_id" if field in ("category", "subcategory") else field
