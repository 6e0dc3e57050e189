"""The canary: once a minute a publication of our own, on the real path, without an event.

A hidden video in a workspace of its own is published and unpublished in turn, by a timed command
like any other: inbox, schedule, Celery, claim, transaction. A command that ends in time shows that
scheduling works, not only that processes exist.
"""

from datetime import UTC, datetime, timedelta

import structlog
from sqlalchemy import Engine

from db.commands import canary
from db.commands.canary import CanaryCommand
from db.session import brief_transaction, transaction
from publish_worker_client.events.names import Action, Trigger
from schemas.command import PublishRequest
from worker.enqueue.accept import Origin, enqueue
from worker.runtime.wake_ups import Waker

AHEAD = timedelta(seconds=1)
"""How far ahead a canary is scheduled: far enough for beat to sleep until then."""
MAX_DETAIL = 200
"""Characters of an error that a check shows."""
PAUSE = timedelta(seconds=20)
"""Minimum between two canaries, also with several beats."""
LATE = timedelta(seconds=10)
"""A canary that is this late means that no command is carried out."""
SILENCE = timedelta(minutes=3)
"""No canary for this long means that beat is down."""

log: structlog.stdlib.BoundLogger = structlog.stdlib.get_logger(__name__)


def schedule_canary(engine: Engine, waker: Waker, video_id: int | None) -> bool:
    """Schedule the next canary; False if there is no video for it, or the last one is too recent.

    `video_id` is the operator's; None: our own, where our migrations made the platform's tables.
    """
    with transaction(engine) as tx:
        last = canary.read_last(tx)
        if last and not _is_next_allowed(last[0]):
            return False
        if video_id is None and canary.is_platform_ours(tx):
            video_id = canary.VIDEO_ID
            canary.create_video(tx)
        is_draft = None if video_id is None else canary.is_draft(tx, video_id)
    if video_id is None or is_draft is None:
        log.info("canary.absent", video_id=video_id)
        return False
    request = _request(video_id, publish=is_draft)
    origin = Origin(trigger=Trigger.CANARY, correlation_id="canary", workspace_id=None)
    enqueue(engine, waker, [request], origin)
    return True


def check_canary(engine: Engine, video_id: int | None) -> tuple[bool, str]:
    """Return whether scheduling works by the last canaries, and one sentence on them.

    `video_id` is the operator's, as for `schedule_canary`.
    """
    with brief_transaction(engine) as tx:
        if video_id is None and not canary.is_platform_ours(tx):
            return True, "There is no canary: set CANARY_VIDEO_ID."
        commands = canary.read_last(tx)
    if not commands:
        return True, "No canary has run yet: give it a minute."
    last = commands[0]
    late = last.now - last.accepted_at - AHEAD
    if last.finished_at is None and late > LATE:
        detail = f": {_shorten(last.detail)}" if last.detail else ""
        return False, f"The canary is {late.total_seconds():.0f} s late{detail}"
    finished = next((each for each in commands if each.finished_at is not None), None)
    return (True, "The first canary is scheduled.") if finished is None else _check_end(finished)


def _check_end(command: CanaryCommand) -> tuple[bool, str]:
    assert command.finished_at is not None  # noqa: S101 - for the type checker
    if command.state not in ("published", "unpublished", "unchanged"):
        return False, f"The last canary ended as '{command.state}': {_shorten(command.detail)}"
    ago = command.now - command.finished_at
    if ago > SILENCE:
        return False, f"The last canary ran {ago.total_seconds():.0f} s ago: is beat down?"
    late = command.finished_at - (command.fell_due_at or command.due_at)
    lateness = f"{late.total_seconds() * 1000:.0f} ms after it fell due"
    return True, f"The last canary was {command.state} {lateness}, {ago.total_seconds():.0f} s ago."


def _shorten(detail: str | None) -> str:
    """The first line of an error: PostgreSQL's message, without the row's contents after it.

    `/readyz` needs no key. The whole error is in the log, and in the command.
    """
    return (detail or "").partition("\n")[0][:MAX_DETAIL]


def _is_next_allowed(last: CanaryCommand) -> bool:
    """Whether the last canary has finished and is old enough for the next one."""
    if last.finished_at is None:
        return False
    return last.now - last.accepted_at > PAUSE


def _request(video_id: int, *, publish: bool) -> PublishRequest:
    at = datetime.now(UTC) + AHEAD
    if publish:
        return PublishRequest(video_id=video_id, publish_at=at)
    return PublishRequest(video_id=video_id, action=Action.UNPUBLISH, unpublish_at=at)
