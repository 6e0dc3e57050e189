"""A subscriber of the stream, in a thread of its own, with a blocking read, as subscribers do."""

import threading
import time
from collections.abc import Generator
from contextlib import contextmanager
from queue import Queue

from redis import Redis

from bench.setup import Run
from publish_worker_client.events.names import EventType
from worker.subscribe import Received, follow

Arrivals = Queue[tuple[int, float]]
"""The video of each `video.published`, and when it arrived, by `time.perf_counter`."""


@contextmanager
def subscriber(run: Run) -> Generator[Arrivals]:
    """Follow the stream from its start while the context lasts."""
    arrivals: Arrivals = Queue()
    stop = threading.Event()

    def listen() -> None:
        with Redis.from_url(run.environment["REDIS_URL"]) as redis:
            for received in follow(redis, after=0):
                if isinstance(received, Received) and received.event["type"] == EventType.PUBLISHED:
                    arrivals.put((int(received.event["subject"]), time.perf_counter()))
                if stop.is_set():
                    return

    thread = threading.Thread(target=listen)
    thread.start()
    try:
        yield arrivals
    finally:
        stop.set()
        thread.join()
