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
class Seen:
    """An event, and when it was received."""

    position: int
    event: dict[str, Any]
    at: float
    """Seconds since the epoch."""

    @property
    def type(self) -> str:
        """Such as `video.published`."""
        return self.event["type"]

    @property
    def video_id(self) -> int:
        """The video that it is about."""
        return int(self.event["subject"])

    @property
    def command_id(self) -> str:
        """The command that caused it."""
        return self.event["causationid"]

    @property
    def data(self) -> dict[str, Any]:
        """What it says."""
        return self.event["data"]

    @property
    def is_due(self) -> bool:
        """Whether the command was due by then: else the event only says that it will be."""
        return "scheduled_at" not in self.data

    @property
    def latency(self) -> float:
        """Seconds from when the command was due to when the event was here."""
        return self.at - datetime.fromisoformat(self.data["due_at"]).timestamp()

    def lateness(self, done: str) -> float:
        """Seconds from the time that was asked for to the one in the event's field `done`."""
        asked, at = self.data["asked_for"], self.data[done]
        return (datetime.fromisoformat(at) - datetime.fromisoformat(asked)).total_seconds()


class Subscriber:
    """Follows the stream from its beginning; what it has seen is there to be looked at."""

    def __init__(self, redis: Redis, tell: Callable[[Seen], None]) -> None:
        self.seen: list[Seen] = []
        self.gaps: list[Missing] = []
        self.error: Exception | None = None
        self._mark = 0
        self._redis = redis
        self._tell = tell
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._follow, name="subscriber", daemon=True)

    @contextmanager
    def following(self) -> Generator[None]:
        """Follow until the block ends."""
        self._thread.start()
        try:
            yield
        finally:
            self._stop.set()
            self._thread.join(timeout=5)

    def mark(self) -> None:
        """What comes from now on is `news`."""
        self._mark = len(self.seen)

    @property
    def news(self) -> list[Seen]:
        """What came since the mark."""
        return self.seen[self._mark :]

    def _follow(self) -> None:
        try:
            for received in follow(self._redis, after=0):
                if self._stop.is_set():
                    return
                self._take(received)
        except Exception as error:  # noqa: BLE001 - told by whoever waits, in the main thread
            self.error = error

    def _take(self, received: Received | Missing | None) -> None:
        match received:
            case Missing():
                self.gaps.append(received)
            case Received(position=position, event=event):
                seen = Seen(position=position, event=event, at=time.time())
                self.seen.append(seen)
                self._tell(seen)
            case None:
                pass
