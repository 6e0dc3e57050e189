"""The feed: events from the outbox alone, page by page, from a position on.

Positions have no gaps and become visible in order (docs/adr/0002), so a cursor over them never
passes over an event that commits late.
"""

from dataclasses import dataclass

from sqlalchemy import Engine

from db.events import feed
from db.events.outbox import RecordedEvent
from db.session import transaction
from schemas.feed import Told, Wanted
from worker.events.cloud_event import to_cloud_event

SCAN = 5_000
"""Positions that one look goes through: it takes milliseconds, whatever is wanted."""


class PositionUnknown(Exception):
    """Nobody can go on from that position."""


class PositionGone(PositionUnknown):
    """What follows that position is kept no longer."""

    def __init__(self, after: int, oldest: int) -> None:
        super().__init__(
            f"The events behind position {after} are kept no longer: the oldest one still kept has"
            f" position {oldest}. Go on with after={oldest - 1}, and see the videos themselves for"
            " what happened before."
        )
        self.oldest = oldest


class PositionAhead(PositionUnknown):
    """That position has not been given out yet."""

    def __init__(self, after: int, last: int) -> None:
        super().__init__(
            f"Position {after} has not been given out: the last one is {last}. Either it is another"
            " installation's, or the database was restored to an earlier point. Go on with"
            f" after={last}."
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """What is wanted of some positions, in order."""

    events: list[Told]
    next_after: int
    """Up to here everything has been looked at."""
    last: int
    """The last position given out when this was read; there is more while `next_after` is less."""


def read(engine: Engine, wanted: Wanted, *, after: int | None, limit: int, base_url: str) -> Page:
    """Read a page behind `after` (None: from the oldest event on). Works without Redis.

    It may be empty although more follows: `next_after` says how far it has looked.
    Raises PositionGone and PositionAhead.
    """
    with transaction(engine) as tx:
        look = feed.page(
            tx,
            after=after,
            scan=SCAN,
            limit=limit,
            workspace_id=wanted.workspace_id,
            types=wanted.types,
            video_id=wanted.video_id,
        )
    oldest = look.last + 1 if look.oldest is None else look.oldest
    if look.after + 1 < oldest:
        raise PositionGone(look.after, oldest)
    if look.after > look.last:
        raise PositionAhead(look.after, look.last)
    events = [told(event, base_url) for event in look.events]
    is_full = len(events) == limit
    next_after = events[-1].position if is_full else min(look.after + SCAN, look.last)
    return Page(events=events, next_after=next_after, last=look.last)


def told(event: RecordedEvent, base_url: str) -> Told:
    """The event as readers get it."""
    return Told(
        position=event.position,
        type=event.type,
        subject=event.subject,
        workspace_id=event.workspace_id,
        document=to_cloud_event(event, base_url),
    )
