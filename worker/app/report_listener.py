"""Hearing: a thread that notices reports on the stream `video.generation` as they come in.

Only a wake-up: whoever reads them is a Celery task, with a sweep each second behind it.
"""

import threading
from collections.abc import Callable
from typing import Any

import structlog
from redis import Redis
from redis.exceptions import RedisError

from worker.generation.stream import STREAM
from worker.runtime.redis_streams import entries_of

BLOCK_MS = 1_000
"""How long one look waits; short, so that a stop is noticed."""
RETRY_SECONDS = 0.5
"""After Redis was away."""

log: structlog.stdlib.BoundLogger = structlog.stdlib.get_logger(__name__)


class Hearing:
    """Calls `heard` when something new is on the stream."""

    def __init__(self, redis: Redis, heard: Callable[[], None]) -> None:
        self._redis = redis
        self._heard = heard
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._listen, name="hearing", daemon=True)

    def start(self) -> None:
        """Begin to listen."""
        self._thread.start()

    def stop(self) -> None:
        """End within a second; nobody need wait for that."""
        self._stop.set()

    def _listen(self) -> None:
        last: bytes | str = "$"
        while not self._stop.is_set():
            try:
                news: Any = self._redis.xread({STREAM: last}, count=1_000, block=BLOCK_MS)
            except RedisError as error:
                log.warning("hearing.redis_away", error=str(error))
                self._stop.wait(RETRY_SECONDS)
                last = "$"  # the stream may be another one by then, with lower IDs
                continue
            if entries := entries_of(news):
                last = entries[-1][0]
                self._heard()
