"""Decide a claimed command: the rule that the worker and the plan share."""

from collections.abc import Iterable
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

from publish_worker_client.events.names import Action, Trigger
from schemas.command import CommandState
from schemas.plan import Readiness, Verdict
from schemas.values.decision import ALREADY_PUBLISHED, FOLLOWS_AFTER, Decision, Release
from schemas.values.video_facts import ClaimedCommand, Names, VideoFacts
from worker.rules import command_events, custom_url, metrics, readiness
from worker.rules.edits import apply_changes, find_changes
from worker.rules.etag import compute_etag, is_allowed
from worker.rules.media import to_stored_edits

MAX_ATTEMPTS = 5
LONGEST_PAUSE = timedelta(minutes=1)
LOCKED_PAUSE = timedelta(milliseconds=200)
"""How long a command is postponed while another transaction holds the video's row."""

OPENED = (None, CommandState.PUBLISHED, CommandState.UNCHANGED)
"""States of a window's publication after which its withdrawal has work; None: no window."""
NEVER_OPENED = (
    "window_never_opened",
    "The publication that this was to end did not take place, so there is nothing to end.",
)
NOT_PUBLISHED = ("not_published", "The video is not published, so there is nothing to withdraw.")

BaseUrls = tuple[str, str | None]
"""Of the video pages, and of media if rows have paths."""


def decide(
    command: ClaimedCommand,
    video: VideoFacts | None,
    names: Names,
    base_url: str,
    media_base_url: str | None = None,
) -> Decision:
    """Decide one command.

    `video` is None if there is no such video, or another transaction holds its row. `names` are
    those of the categories and tags in the edits.
    """
    now = video.now if video else command.now
    if video and video.workspace_id != command.workspace_id:
        video = None  # moved since: a command sees only its own workspace
    deadline = get_deadline(command)
    if deadline is not None and now > deadline:
        detail = "The deadline has passed; nothing was published."
        return _expire(command, now, "deadline_passed", detail)
    if command.video_exists and not command.video_held:
        return _postpone(command, now)
    if video is None:
        return _reject(command, readiness.assess(None), now)
    if video.first_published_at is not None and not command.was_published:
        command = replace(command, was_published=True)  # by an earlier command of this batch
    if mismatch := _find_mismatch(command, video):
        return end_command(command, CommandState.REJECTED, now, "video_changed", mismatch)
    if command.action == Action.UNPUBLISH:
        return _unpublish_if_published(command, video, base_url)
    if command.edits:
        command = replace(command, edits=to_stored_edits(media_base_url, command.edits))
    return _publish_if_ready(command, video, names, (base_url, media_base_url))


def _publish_if_ready(
    command: ClaimedCommand, video: VideoFacts, names: Names, base_urls: BaseUrls
) -> Decision:
    now = video.now
    verdict = readiness.get_verdict(video)
    if verdict is Verdict.NEVER:
        return _reject(command, readiness.assess(video), now)
    changes = find_changes(video, command.edits)
    if not video.is_draft and not changes:
        return _leave_unchanged(command, now, *ALREADY_PUBLISHED)
    if verdict is Verdict.NOT_YET:
        return _wait(command, readiness.assess(video), now)
    return _publish(command, apply_changes(video, changes, names), changes, base_urls)


def apply_decision(decision: Decision, video: VideoFacts, names: Names) -> VideoFacts:
    """Return the video's facts after the decision, for the next command of the batch."""
    release = decision.release
    if release is None:
        return video
    return replace(
        apply_changes(video, decision.changes or {}, names),
        is_draft=release.withdrawn_at is not None,
        updated_at=release.withdrawn_at or release.published_at,
        revision=release.revision,
        custom_url=release.custom_url,
        first_published_at=release.first_published_at,
        published_at=release.published_at,
    )


def ask_once(decisions: Iterable[Decision]) -> list[Decision]:
    """Let the first waiting command of each video ask again, and the others follow a second later.

    By then the first one has been asked: it is published, or postpones them.
    """
    first: dict[int, Decision] = {}
    return [
        _follow(each, first.setdefault(each.video_id, each)) if each.waits_until else each
        for each in decisions
    ]


def decide_after_failure(command: ClaimedCommand, detail: str) -> Decision:
    """Decide a command whose attempt failed: back off, or fail after the last attempt.

    `detail` describes the error; subscribers and webhooks receive it.
    """
    attempts = command.attempts + 1
    if attempts >= MAX_ATTEMPTS:
        failed = end_command(command, CommandState.FAILED, command.now, "error", detail)
        return replace(failed, attempts=attempts)
    return _make_decision(
        command,
        CommandState(command.state),
        command.now + compute_backoff(attempts),
        reason="error",
        detail=detail,
        attempts=attempts,
    )


def compute_backoff(times: int) -> timedelta:
    """Return the pause after this number of tries: 1 s, 2 s, 4 s … at most a minute."""
    return min(timedelta(seconds=2 ** min(times - 1, 10)), LONGEST_PAUSE)


def build_release(video: VideoFacts) -> Release:
    """Return the release that the video has if it is published as it is now."""
    short_id = custom_url.compute_short_id(video.uid)
    return Release(
        video_id=video.id,
        short_id=short_id,
        custom_url=custom_url.build_custom_url(video.workspace_url, video.title, short_id),
        metrics=metrics.compute(video),
        revision=video.revision + 1,
        first_published_at=video.first_published_at or video.now,
        published_at=video.now,
    )


def end_command(
    command: ClaimedCommand,
    state: CommandState,
    now: datetime,
    reason: str,
    detail: str,
    trigger: Trigger | None = None,
) -> Decision:
    """Decide an outcome that changes nothing, with the event that says why.

    `trigger` ended it; None: whatever triggered the command.
    """
    return _make_decision(
        command,
        state,
        command.due_at,
        reason=reason,
        detail=detail,
        finished_at=now,
        event=command_events.build_ended_event(command, state, now, reason, detail, trigger),
    )


def get_deadline(command: ClaimedCommand) -> datetime | None:
    """Return `publish_before` or the end of its window, whichever is earlier; None: no deadline."""
    before, ends_at = command.publish_before, command.counterpart_at
    if ends_at is None or command.action != Action.PUBLISH:
        return before
    return ends_at if before is None else min(before, ends_at)


def _find_mismatch(command: ClaimedCommand, video: VideoFacts) -> str | None:
    """Return how the video differs from what the caller expected; None if it does not."""
    expected, etag_expected = command.expected_revision, command.expected_etag
    if expected is not None and expected != video.revision:
        return f"The video is at revision {video.revision}; revision {expected} was expected."
    if etag_expected is None:
        return None
    if not is_allowed(etag_expected, compute_etag(video.id, video.revision, video.updated_at)):
        return "The video was changed since the version that was expected."
    return None


def _expire(command: ClaimedCommand, now: datetime, reason: str, detail: str) -> Decision:
    """End the command because its time is over."""
    return end_command(command, CommandState.EXPIRED, now, reason, detail, Trigger.SCHEDULE)


def _reject(command: ClaimedCommand, assessed: Readiness, now: datetime) -> Decision:
    return end_command(command, CommandState.REJECTED, now, assessed.reason or "", assessed.detail)


def _unpublish_if_published(command: ClaimedCommand, video: VideoFacts, base_url: str) -> Decision:
    if command.counterpart_state not in OPENED:
        return _leave_unchanged(command, video.now, *NEVER_OPENED)
    if video.is_draft:
        return _leave_unchanged(command, video.now, *NOT_PUBLISHED)
    return _unpublish(command, video, base_url)


def _unpublish(command: ClaimedCommand, video: VideoFacts, base_url: str) -> Decision:
    """Withdraw the video. If the platform published it before us, it gets its release now."""
    fresh = build_release(video)
    release = replace(
        fresh,
        custom_url=video.custom_url or fresh.custom_url,
        published_at=video.published_at or video.now,
        withdrawn_at=video.now,
    )
    return _make_decision(
        command,
        CommandState.UNPUBLISHED,
        command.due_at,
        finished_at=video.now,
        release=release,
        event=command_events.build_unpublished_event(command, video, release, base_url),
    )


def _publish(
    command: ClaimedCommand, video: VideoFacts, changes: dict[str, Any], base_urls: BaseUrls
) -> Decision:
    release = build_release(video)
    return _make_decision(
        command,
        CommandState.PUBLISHED,
        command.due_at,
        finished_at=video.now,
        changes=changes or None,
        release=release,
        event=command_events.build_published_event(command, video, release, *base_urls),
    )


def _leave_unchanged(command: ClaimedCommand, now: datetime, reason: str, detail: str) -> Decision:
    return _make_decision(
        command,
        CommandState.UNCHANGED,
        command.due_at,
        reason=reason,
        detail=detail,
        finished_at=now,
    )


def _wait(command: ClaimedCommand, assessed: Readiness, now: datetime) -> Decision:
    """Wait for generation until the deadline, else for a day. A waiting command is never late."""
    if get_deadline(command) is None and now > command.patient_until:
        detail = f"Generation did not end within a day: {assessed.detail}"
        return _expire(command, now, "generation_overdue", detail)
    checks = command.checks + 1
    latest = get_deadline(command) or command.patient_until
    return _make_decision(
        command,
        CommandState.WAITING,
        min(now + compute_backoff(checks), latest),
        checks=checks,
        reason=assessed.reason,
        detail=assessed.detail,
        fell_due_at=None,
        waits_until=latest,
    )


def _follow(decision: Decision, first: Decision) -> Decision:
    if decision is first or decision.waits_until is None:
        return decision
    return replace(decision, due_at=min(first.due_at + FOLLOWS_AFTER, decision.waits_until))


def _postpone(command: ClaimedCommand, now: datetime) -> Decision:
    return _make_decision(
        command,
        CommandState(command.state),
        now + LOCKED_PAUSE,
        reason="video_held",
        detail="Another transaction holds the video's row.",
        fell_due_at=None
        if command.state == CommandState.WAITING
        else command_events.get_due_since(command),
    )


def _make_decision(
    command: ClaimedCommand, state: CommandState, due_at: datetime, **more: Any
) -> Decision:
    """Return a decision with what it has from the command, and `more` of its fields."""
    values: dict[str, Any] = {
        "command_id": command.id,
        "video_id": command.video_id,
        "correlation_id": command.correlation_id,
        "reason": None,
        "detail": None,
        "checks": command.checks,
        "attempts": command.attempts,
        "fell_due_at": command_events.get_due_since(command),
        "claimed_at": command.now,
        "finished_at": None,
    }
    return Decision(state=state, due_at=due_at, **(values | more))
