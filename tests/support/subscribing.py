"""Helpers of the tests of subscribers: events on the stream, and reading them."""

import threading
from collections.abc import Generator, Iterable, Mapping
from contextlib import contextmanager
from itertools import islice
from typing import Any

from redis import Redis

from tests.support.pipeline import BASE_URL, Pipeline
from tests.support.waiting import PATIENCE, wait_until
from worker.events import redis_stream
from worker.subscribe import Delivery, Subscriber


def publish_videos(pipeline: Pipeline, count: int) -> list[int]:
    """Publish videos, so that each has an event on the stream; return their ids."""
    videos = [pipeline.video() for _ in range(count)]
    pipeline.publish(*videos)
    redis_stream.relay(pipeline.engine, pipeline.redis, BASE_URL)
    return videos


def add_events(redis: Redis, *keys: str, first: int = 1) -> None:
    """Add events to the stream, one for each partition key."""
    for position, key in enumerate(keys, first):
        redis.xadd("video.events", {"event": document(position, key)}, id=f"{position}-0")


def document(position: int, key: str, kind: str = "video.published") -> str:
    return (
        f'{{"specversion": "1.0", "id": "id-{position}", "source": "/workspaces/1", '
        f'"type": "{kind}", "subject": "{key}", '
        f'"dataschema": "{BASE_URL}/api/v1/schemas/{kind}/9", '
        f'"sequence": "{position}", "partitionkey": "{key}", "data": {{"n": {position}}}}}'
    )


def handled(subscriber: Subscriber, count: int) -> list[int]:
    """Take this number of events, and acknowledge each."""
    return [acknowledged(delivery) for delivery in islice(subscriber, count)]


def acknowledged(delivery: Delivery) -> int:
    delivery.ack()
    return delivery.position


@contextmanager
def patience(subscriber: Subscriber) -> Generator[None]:
    """Stop a subscriber that would wait for ever."""
    timer = threading.Timer(PATIENCE, subscriber.stop)
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


def outage_lines(logs: Iterable[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """The lines on an outage. Whether a short lease is lost, too, depends on the machine."""
    events = ("subscriber.unreachable", "subscriber.reachable")
    return [line for line in logs if line["event"] in events]


def wait_for_outage(logs: Iterable[Mapping[str, Any]]) -> None:
    wait_until(lambda: outage_lines(logs), "the outage to be logged")
