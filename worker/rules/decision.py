"""What becomes of a claimed command: a pure rule, shared by the worker and the plan."""

from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

from schemas.command import Action, CommandState, Trigger
from schemas.plan import Readiness, Verdict
from schemas.values.decision import ALREADY_PUBLISHED, Decision, Release
from schemas.values.video_facts import ClaimedCommand, Names, VideoFacts
from worker.rules import command_events, custom_url, metrics, readiness
from worker.rules.edits import changed, edited
from worker.rules.etag import etag, matches

MAX_ATTEMPTS = 5
LONGEST_PAUSE = timedelta(minutes=1)
HELD_PAUSE = timedelta(milliseconds=200)
"""How long a command is postponed while another transaction has locked the video's row."""

OPENED = (None, CommandState.PUBLISHED, CommandState.UNCHANGED)
"""States of a window's beginning after which its end is carried out; None: not a window."""
NEVER_OPENED = (
    "window_never_opened",
    "The publication that this was to end did not take place, so there is nothing to end.",
)
NOT_PUBLISHED = ("not_published", "The video is not published, so there is nothing to withdraw.")


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
    if video.first_published_at is not None and not command.was_published:
        command = replace(command, was_published=True)  # by one before it in this batch
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
    return replace(
        _unfinished(command, state, command.due_at),
        reason=reason,
        detail=detail,
        finished_at=now,
        event=command_events.ended(command, state, now, reason, detail, trigger),
    )


def latest_moment(command: ClaimedCommand) -> datetime | None:
    """The last moment at which it may be carried out: said, or the end of its window."""
    ends_at = command.counterpart_at if command.action == Action.PUBLISH else None
    return min(filter(None, (command.publish_before, ends_at)), default=None)


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
    if command.counterpart_state not in OPENED:
        return _unchanged(command, video.now, *NEVER_OPENED)
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
    return replace(
        _unfinished(command, CommandState.UNPUBLISHED, command.due_at),
        finished_at=video.now,
        release=release,
        event=command_events.unpublished(command, video, release, base_url),
    )


def _publish(
    command: ClaimedCommand, video: VideoFacts, changes: dict[str, Any], base_url: str
) -> Decision:
    release = release_of(video)
    return replace(
        _unfinished(command, CommandState.PUBLISHED, command.due_at),
        finished_at=video.now,
        changes=changes or None,
        release=release,
        event=command_events.published(command, video, release, base_url),
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
        detail="Another transaction has locked the video's row.",
        fell_due_at=None
        if command.state == CommandState.WAITING
        else command_events.fell_due_at(command),
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
        fell_due_at=command_events.fell_due_at(command),
        claimed_at=command.now,
        finished_at=None,
    )
