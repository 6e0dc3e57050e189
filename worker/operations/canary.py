"""The canary: once a minute a publication of our own, on the real path, without an event.

A hidden video in a workspace of its own is published and withdrawn in turn, by a timed command like
any other: inbox, schedule, Celery, claim, transaction. That it comes out in time shows that
scheduling works, and not merely that processes exist.
"""

from datetime import UTC, datetime, timedelta

import structlog
from sqlalchemy import Engine

from db.commands import canary
from db.commands.canary import Flight
from db.session import transaction
from schemas.command import Action, PublishRequest, Trigger
from worker.enqueue.accept import Origin, enqueue
from worker.runtime.wake_ups import Waker

AHEAD = timedelta(seconds=1)
"""How far ahead a flight is scheduled: far enough for the schedulers to sleep until then."""
REST = timedelta(seconds=20)
"""Between two flights, however many schedulers ask for them."""
LATE = timedelta(seconds=10)
"""A flight that is this late says that nothing is carried out."""
SILENCE = timedelta(minutes=3)
"""Without a flight for this long, beat is down."""

log: structlog.stdlib.BoundLogger = structlog.stdlib.get_logger(__name__)


def fly(engine: Engine, waker: Waker, video_id: int | None) -> bool:
    """Schedule the next flight; False where there is no canary, or one is in the air or just back.

    `video_id` is the operator's; None: one of our own, where the platform's tables are ours.
    """
    with transaction(engine) as tx:
        flights = canary.last_flights(tx)
        if flights and not _has_rested(flights[0]):
            return False
        if video_id is None and canary.platform_is_ours(tx):
            video_id = canary.VIDEO_ID
            canary.plant(tx)
        is_draft = None if video_id is None else canary.is_draft(tx, video_id)
    if video_id is None or is_draft is None:
        log.info("canary.absent", video_id=video_id)
        return False
    request = _request(video_id, publish=is_draft)
    origin = Origin(trigger=Trigger.CANARY, correlation_id="canary")
    enqueue(engine, waker, [request], origin)
    return True


def judge(engine: Engine, video_id: int | None) -> tuple[bool, str]:
    """Whether scheduling works, as far as the last flights tell, and what they tell.

    `video_id` is the operator's, as for `fly`.
    """
    with transaction(engine) as tx:
        if video_id is None and not canary.platform_is_ours(tx):
            return True, "There is no canary: set CANARY_VIDEO_ID."
        flights = canary.last_flights(tx)
    if not flights:
        return True, "No canary has flown yet: give it a minute."
    last = flights[0]
    late = last.now - last.accepted_at - AHEAD
    if last.finished_at is None and late > LATE:
        told = f": {last.detail}" if last.detail else ""
        return False, f"The canary is {late.total_seconds():.0f} s late{told}"
    landed = next((each for each in flights if each.finished_at is not None), None)
    return (True, "The first canary is in the air.") if landed is None else _landing(landed)


def _landing(flight: Flight) -> tuple[bool, str]:
    assert flight.finished_at is not None  # noqa: S101 - for the type checker
    if flight.state not in ("published", "unpublished", "unchanged"):
        return False, f"The last canary ended as '{flight.state}': {flight.detail}"
    ago = flight.now - flight.finished_at
    if ago > SILENCE:
        return False, f"The last canary flew {ago.total_seconds():.0f} s ago: is beat down?"
    late = flight.finished_at - (flight.fell_due_at or flight.due_at)
    told = f"{late.total_seconds() * 1000:.0f} ms after it fell due"
    return True, f"The last canary was {flight.state} {told}, {ago.total_seconds():.0f} s ago."


def _has_rested(last: Flight) -> bool:
    """Whether the next one may fly: the last one has landed, and a while ago."""
    if last.finished_at is None:
        return False
    return last.now - last.accepted_at > REST


def _request(video_id: int, *, publish: bool) -> PublishRequest:
    at = datetime.now(UTC) + AHEAD
    if publish:
        return PublishRequest(video_id=video_id, publish_at=at)
    return PublishRequest(video_id=video_id, action=Action.UNPUBLISH, unpublish_at=at)
