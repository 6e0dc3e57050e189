"""A thread that notices new generation reports on the stream `video.generation`.

It only wakes Celery: a task reads the reports, and a sweep each second finds what it misses.
"""

import threading
from collections.abc import Callable
from typing import Any

from redis import Redis
from redis.exceptions import RedisError

from worker.generation.stream import STREAM
from worker.runtime.outage import Outage
from worker.runtime.redis_streams import parse_entries

BLOCK_MS = 1_000
"""How long one read waits; short, so that the thread notices a stop."""
RETRY_SECONDS = 0.5
"""Pause after Redis was unreachable."""


class ReportListener:
    """Calls `wake` when the stream has a new entry."""

    def __init__(self, redis: Redis, wake: Callable[[], None]) -> None:
        self._redis = redis
        self._wake = wake
        self._stop = threading.Event()
        self._outage = Outage("report_listener.unreachable", "report_listener.reachable")
        self._thread = threading.Thread(target=self._run, name="report-listener", daemon=True)

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def stop(self) -> None:
        """Make the thread end within a second; does not wait for it."""
        self._stop.set()

    def _run(self) -> None:
        last: bytes | str = "$"
        while not self._stop.is_set():
            try:
                answer: Any = self._redis.xread({STREAM: last}, count=1_000, block=BLOCK_MS)
            except RedisError as error:
                self._outage.note(error)
                self._stop.wait(RETRY_SECONDS)
                last = "$"  # the stream may be another one by then, with lower IDs
                continue
            self._outage.end()
            if entries := parse_entries(answer):
                last = entries[-1][0]
                self._wake()
