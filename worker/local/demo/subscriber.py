"""The demo's subscriber: a thread that follows the stream as any other program would."""

import threading
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from redis import Redis

from worker.subscribe import Missing, Received, follow


@dataclass(frozen=True, kw_only=True)
class ReceivedEvent:
    """An event, and when it was received."""

    position: int
    id: str
    type: str
    video_id: int
    command_id: str
    data: dict[str, Any]
    at: float
    """Seconds since the epoch."""

    @property
    def is_outcome(self) -> bool:
        """Whether the command has ended; else the event announces a scheduled command."""
        return "scheduled_at" not in self.data

    @property
    def latency(self) -> float:
        """Seconds from the command's due time to the receipt."""
        return self.at - datetime.fromisoformat(self.data["due_at"]).timestamp()

    def lateness(self, field: str) -> float:
        """Seconds from the requested time to the time in this field of the event."""
        asked, at = self.data["asked_for"], self.data[field]
        return (datetime.fromisoformat(at) - datetime.fromisoformat(asked)).total_seconds()


class Subscriber:
    """Follows the stream from its beginning and keeps what it receives."""

    def __init__(self, redis: Redis, notify: Callable[[ReceivedEvent], None]) -> None:
        self.received: list[ReceivedEvent] = []
        self.gaps: list[Missing] = []
        self.error: Exception | None = None
        self._mark = 0
        self._redis = redis
        self._notify = notify
        self._stop = threading.Event()

    @contextmanager
    def following(self) -> Generator[None]:
        """Follow until the block ends."""
        thread = threading.Thread(target=self._follow, name="subscriber", daemon=True)
        thread.start()
        try:
            yield
        finally:
            self._stop.set()
            thread.join(timeout=5)

    def mark(self) -> None:
        """Count as new only what is received from now on."""
        self._mark = len(self.received)

    @property
    def new(self) -> list[ReceivedEvent]:
        """What was received since the mark."""
        return self.received[self._mark :]

    def _follow(self) -> None:
        try:
            for item in follow(self._redis, after=0):
                if self._stop.is_set():
                    return
                if isinstance(item, Missing):
                    self.gaps.append(item)
                elif isinstance(item, Received):
                    self._take(item)
        except Exception as error:  # noqa: BLE001 - the main thread shows it
            self.error = error

    def _take(self, item: Received) -> None:
        event = ReceivedEvent(
            position=item.position,
            id=item.event["id"],
            type=item.event["type"],
            video_id=int(item.event["subject"]),
            command_id=item.event["causationid"],
            data=item.event["data"],
            at=time.time(),
        )
        self.received.append(event)
        self._notify(event)
