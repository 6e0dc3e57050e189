"""The feed: pages of events from the outbox, from a position on; works without Redis.

Positions have no gaps and become visible in order (docs/adr/0002), so a cursor over them never
misses an event that commits late.
"""

from dataclasses import dataclass

from sqlalchemy import Engine

from db.events import feed
from db.session import transaction
from publish_worker_client.events.cloud_event import to_cloud_event
from publish_worker_client.events.outbox import RecordedEvent
from schemas.feed import EventFilter, FeedEvent

SCAN = 5_000
"""Positions that one page scans: this takes milliseconds, whatever the filter."""


class PositionUnknown(Exception):
    """No reader can continue from this position; it can from `resume_after`."""

    def __init__(self, text: str, resume_after: int) -> None:
        super().__init__(text)
        self.resume_after = resume_after


class PositionGone(PositionUnknown):
    """The events after this position are not stored any more."""

    def __init__(self, after: int, oldest: int) -> None:
        super().__init__(
            f"The events after position {after} are not stored any more: the oldest one stored has"
            f" position {oldest}. Continue with after={oldest - 1}, and read the videos themselves"
            " for earlier changes.",
            oldest - 1,
        )
        self.oldest = oldest


class PositionAhead(PositionUnknown):
    """This position has not been assigned yet."""

    def __init__(self, after: int, last: int) -> None:
        super().__init__(
            f"Position {after} has not been assigned: the last one is {last}. Either it belongs to"
            " another installation, or the database was restored to an earlier point. Continue with"
            f" after={last}.",
            last,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class FeedPage:
    """The events that match among some positions, in order."""

    events: list[FeedEvent]
    next_after: int
    """The next page begins after this position."""
    last: int
    """The last position assigned when this was read; more follows while `next_after` is less."""


def read_page(
    engine: Engine, event_filter: EventFilter, *, after: int | None, limit: int, base_url: str
) -> FeedPage:
    """Read a page of at most `limit` events after `after` (None: from the oldest event on).

    It ends early with an event that makes it larger than a MiB. It may be empty although more
    events follow: continue with `next_after`. Raises PositionGone and PositionAhead.
    """
    with transaction(engine) as tx:
        found = feed.scan(
            tx,
            after=after,
            positions=SCAN,
            limit=limit,
            workspace_id=event_filter.workspace_id,
            types=event_filter.types,
            video_id=event_filter.video_id,
        )
    oldest = found.last + 1 if found.oldest is None else found.oldest
    if found.after + 1 < oldest:
        raise PositionGone(found.after, oldest)
    if found.after > found.last:
        raise PositionAhead(found.after, found.last)
    events = [to_feed_event(event, base_url) for event in found.events]
    is_full = found.is_cut or len(events) == limit
    next_after = events[-1].position if is_full else min(found.after + SCAN, found.last)
    return FeedPage(events=events, next_after=next_after, last=found.last)


def to_feed_event(event: RecordedEvent, base_url: str) -> FeedEvent:
    """The event as readers receive it."""
    return FeedEvent(
        position=event.position,
        type=event.type,
        subject=event.subject,
        workspace_id=event.workspace_id,
        document=to_cloud_event(event, base_url),
    )
