"""What a consumer has in hand: what comes next, what waits to be tried again and whom it holds up.

No I/O. An event that failed holds back the later ones of its video, so that none overtakes it; the
other videos' go on, until too much is held back.
"""

import heapq
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field

from worker.subscribe.stream_entry import Entry

LIMIT = 1_000
"""Events that are handed out or held back, at most; then none is read until some are done."""


@dataclass(slots=True, kw_only=True)
class Held:
    """A video whose event failed."""

    failed: Entry
    later: deque[Entry] = field(default_factory=deque[Entry])


class Hand:
    """The events in one consumer's hands, in order."""

    def __init__(self) -> None:
        self.ready: deque[Entry] = deque()
        self.out: set[Entry] = set()
        """Handed to the caller, and neither acknowledged nor failed."""
        self.held: dict[str, Held] = {}
        self.due: list[tuple[float, int, str]] = []
        """When each held video's event is tried again: a heap."""
        self.waiting = 0
        self._count = 0

    def __len__(self) -> int:
        return len(self.ready) + len(self.out) + len(self.held) + self.waiting

    @property
    def is_full(self) -> bool:
        """Whether no more should be read."""
        return len(self.out) + len(self.held) + self.waiting >= LIMIT

    def add(self, entries: Iterable[Entry]) -> None:
        """Take entries in, in their order."""
        self.ready.extend(entries)

    def take(self, now: float) -> Entry | None:
        """The next event to hand out; None: there is none just now."""
        if self.due and self.due[0][0] <= now:
            _, _, key = heapq.heappop(self.due)
            return self._hand_out(self.held[key].failed)
        while self.ready:
            entry = self.ready.popleft()
            if not self.held or (held := self.held.get(entry.key)) is None:
                return self._hand_out(entry)
            held.later.append(entry)
            self.waiting += 1
        return None

    def done(self, entry: Entry) -> bool:
        """An event is over: acknowledged, or set aside. False: it was not out."""
        if entry not in self.out:
            return False
        self.out.remove(entry)
        if self.held:
            self._release(entry)
        return True

    def failed(self, entry: Entry, again_at: float) -> None:
        """An event is to be tried again later."""
        self.out.discard(entry)
        held = self.held.get(entry.key)
        if held is None:
            self.held[entry.key] = Held(failed=entry)
        elif held.failed is not entry:  # several of one video were out at once: behind the other
            held.later.appendleft(entry)
            self.waiting += 1
            return
        self._count += 1
        heapq.heappush(self.due, (again_at, self._count, entry.key))

    def pause(self, now: float, longest: float) -> float:
        """Seconds until something is to be tried again, at most `longest`."""
        return max(0.0, min(longest, self.due[0][0] - now)) if self.due else longest

    def lowest(self) -> int | None:
        """The lowest position in hand."""
        later = (entry for held in self.held.values() for entry in held.later)
        failed = (held.failed for held in self.held.values())
        return min(
            (entry.position for each in (self.ready, self.out, failed, later) for entry in each),
            default=None,
        )

    def has(self, entry_id: bytes) -> bool:
        """Whether an entry is in hand already."""
        later = (entry for held in self.held.values() for entry in held.later)
        failed = (held.failed for held in self.held.values())
        return any(
            entry.id == entry_id for each in (self.ready, self.out, failed, later) for entry in each
        )

    def drop(self) -> None:
        """Let go of everything that the caller does not have."""
        self.ready.clear()
        self.held.clear()
        self.due.clear()
        self.waiting = 0
        self.out.clear()

    def _hand_out(self, entry: Entry) -> Entry:
        self.out.add(entry)
        return entry

    def _release(self, entry: Entry) -> None:
        held = self.held.get(entry.key)
        if held is not None and held.failed is entry:
            del self.held[entry.key]
            self.waiting -= len(held.later)
            self.ready.extendleft(reversed(held.later))
