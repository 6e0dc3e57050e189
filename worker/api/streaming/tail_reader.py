"""One reader of the live tail: its position, its buffer of pending events, and how it ends."""

import asyncio
import time
from collections import deque
from collections.abc import Sequence
from enum import StrEnum
from typing import TYPE_CHECKING
from uuid import UUID

from schemas.feed import EventFilter, FeedEvent
from worker.events.feed import PositionUnknown

if TYPE_CHECKING:
    from worker.api.streaming.tail import Tail

BUFFER = 2_000
"""Events that a reader may have pending once it has caught up."""
PAGE_BYTES = 1024 * 1024
"""A read ends with the event that reaches this size."""


class EndReason(StrEnum):
    """Why a reader receives no more events."""

    TOO_SLOW = "too_slow"
    """Its buffer overflowed."""
    KEY_REVOKED = "key_revoked"
    SESSION_ENDED = "session_ended"
    """The console's session: the person has logged out, or it has expired."""
    STOPPING = "stopping"
    """This process stops; the client may reconnect to another one."""
    POSITION_UNKNOWN = "position_unknown"
    """The events after its position are not stored any more, or the positions began again at 1."""


class TailReader:
    """Reads the events that match a filter.

    `position`: everything up to here that matches has been read. A reader first catches up from
    the outbox, page by page, at its own pace. Once the tail's memory reaches back to its position
    it is live: the tail offers it each event.
    """

    def __init__(self, tail: "Tail", caller_id: UUID, event_filter: EventFilter) -> None:
        self.caller_id = caller_id
        self.event_filter = event_filter
        self.position = 0
        self.end_reason: EndReason | None = None
        self.waits_since = 0.0
        self.session: bytes | None = None
        """The digest of the console's session that the reader ends with. None: it has none."""
        self._tail = tail
        self._pending: deque[FeedEvent] = deque()
        self._wake_up = asyncio.Event()
        self._is_live = False

    async def read(self, limit: int) -> list[FeedEvent]:
        """Wait for the next events, at most `limit`, in order.

        Empty after `HEARTBEAT_SECONDS` without events (the tail wakes idle readers, since a timer
        for each reader would cost more than everything else), or if `end_reason` is set.
        """
        if not self._is_live and not self._go_live():
            return await self._catch_up(limit)
        if not self._pending and self.end_reason is None:
            self.waits_since = time.monotonic()
            await self._wake_up.wait()
        events = self._take(limit)
        if events:
            self.position = events[-1].position
        if not self._pending and self.end_reason is None:
            self._wake_up.clear()
            self.position = max(self.position, self._tail.position)  # the others do not match
        return events

    def _take(self, limit: int) -> list[FeedEvent]:
        """Pending events: at most `limit`, and no more after a mebibyte."""
        events: list[FeedEvent] = []
        size = 0
        while self._pending and len(events) < limit and size < PAGE_BYTES:
            events.append(self._pending.popleft())
            size += len(events[-1].document)
        return events

    def offer(self, events: Sequence[FeedEvent]) -> None:
        """Buffer the events that match; they are of a workspace that this reader may see."""
        if events[0].position <= self.position:
            events = [event for event in events if event.position > self.position]
        matching = self.event_filter
        self._pending.extend(events if matching.is_workspace_only else matching.select(events))
        if len(self._pending) > BUFFER:
            self._pending.clear()
            self.end(EndReason.TOO_SLOW)
        elif self._pending:
            self._wake_up.set()

    def end(self, reason: EndReason) -> None:
        """Accept no more events; pending ones can still be read. The first reason is kept."""
        self.end_reason = self.end_reason or reason
        self._tail.remove(self)
        self._wake_up.set()

    def wake_up(self) -> None:
        """Let `read` return although there is no event: time for a heartbeat."""
        self._wake_up.set()

    def _go_live(self) -> bool:
        """Receive events from the tail if its memory reaches back to this position."""
        if self.end_reason is not None:
            return True
        remembered = self._tail.remembered(self.position)
        if remembered is None:
            return False
        self._is_live = True
        self._tail.add_live(self)
        if matching := self.event_filter.select(remembered):
            self.offer(matching)
        return True

    async def _catch_up(self, limit: int) -> list[FeedEvent]:
        try:
            page = await self._tail.read_page(self.event_filter, self.position, limit)
        except PositionUnknown:
            self.end(EndReason.POSITION_UNKNOWN)
            return []
        self.position = page.next_after
        return page.events
