"""The events that one consumer has read and not finished: ready, in flight, or blocked.

No I/O. A failed event blocks the later ones of its video, so that none overtakes it; other videos'
events go on, until too many are blocked.
"""

import heapq
from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import chain

from publish_worker_client.subscribe.stream_entry import Entry, Source

LIMIT = 1_000
"""Events in flight or blocked, at most: back-pressure. None is read then until some are done."""


@dataclass(slots=True, kw_only=True)
class BlockedVideo:
    """A video whose event failed, and its later events."""

    failed: Entry
    later: deque[Entry] = field(default_factory=deque[Entry])


class Backlog:
    """The unfinished events of one consumer, in order."""

    def __init__(self) -> None:
        self.ready: deque[Entry] = deque()
        self.in_flight: set[Entry] = set()
        """Delivered to the caller, and neither acknowledged nor failed."""
        self.blocked: dict[str, BlockedVideo] = {}
        """By partition key."""
        self.retries: list[tuple[float, int, str]] = []
        """When the failed event of each blocked video is tried again: a heap."""
        self.blocked_later = 0
        self.redeliveries = 0
        """How many of these are from the redelivery stream."""
        self._count = 0

    @property
    def is_full(self) -> bool:
        """Whether no more may be read."""
        return len(self.in_flight) + len(self.blocked) + self.blocked_later >= LIMIT

    def add(self, entries: Iterable[Entry]) -> None:
        """Add entries in their order."""
        for entry in entries:
            self.ready.append(entry)
            self.redeliveries += entry.source is Source.REDELIVERY

    def take(self, now: float) -> Entry | None:
        """Return the next event to deliver; None: there is none at this moment."""
        if self.retries and self.retries[0][0] <= now:
            _, _, key = heapq.heappop(self.retries)
            return self._deliver(self.blocked[key].failed)
        while self.ready:
            entry = self.ready.popleft()
            if not self.blocked or (video := self.blocked.get(entry.key)) is None:
                return self._deliver(entry)
            video.later.append(entry)
            self.blocked_later += 1
        return None

    def finish(self, entry: Entry) -> None:
        """Remove an event that is acknowledged or a dead letter, and unblock its video."""
        if entry not in self.in_flight:
            return
        self.in_flight.remove(entry)
        self.redeliveries -= entry.source is Source.REDELIVERY
        if self.blocked:
            self._unblock(entry)

    def retry_at(self, entry: Entry, time: float) -> None:
        """Have a failed event delivered again at a time (of the monotonic clock)."""
        self.in_flight.discard(entry)
        video = self.blocked.get(entry.key)
        if video is None:
            self.blocked[entry.key] = BlockedVideo(failed=entry)
        elif video.failed is not entry:  # several of one video were in flight: after the first one
            video.later.appendleft(entry)
            self.blocked_later += 1
            return
        self._count += 1
        heapq.heappush(self.retries, (time, self._count, entry.key))

    def seconds_to_retry(self, now: float, longest: float) -> float:
        """Return the seconds until the next retry, at most `longest`."""
        return max(0.0, min(longest, self.retries[0][0] - now)) if self.retries else longest

    def find_lowest(self) -> int | None:
        """Return the lowest position; None: it is empty."""
        return min((entry.position for entry in self._all()), default=None)

    def clear(self) -> None:
        """Forget everything: what was not acknowledged is read again."""
        self.__init__()

    def _all(self) -> Iterator[Entry]:
        videos = self.blocked.values()
        failed = (video.failed for video in videos)
        return chain(self.ready, self.in_flight, failed, *(video.later for video in videos))

    def _deliver(self, entry: Entry) -> Entry:
        self.in_flight.add(entry)
        return entry

    def _unblock(self, entry: Entry) -> None:
        video = self.blocked.get(entry.key)
        if video is not None and video.failed is entry:
            del self.blocked[entry.key]
            self.blocked_later -= len(video.later)
            self.ready.extendleft(reversed(video.later))
