"""This project as it runs in production: worker and beat, and a producer in Python."""

from collections.abc import Generator, Iterable, Sequence
from contextlib import ExitStack, contextmanager
from datetime import datetime
from functools import partial
from itertools import islice
from typing import Any
from uuid import UUID

import httpx
from sqlalchemy import Engine

from bench.processes import free_port, python, wait_for
from bench.setup import Run
from db.session import transaction
from publish_worker_client.events.names import Trigger
from publish_worker_client.events.stream_entries import STREAM
from schemas.command import PublishRequest
from worker.enqueue.accept import Origin, enqueue
from worker.operations.health import HEARTBEAT
from worker.runtime.producer import make_producer, send_wake_up
from worker.runtime.redis_clients import open_hint_redis
from worker.runtime.settings import Settings
from worker.runtime.wake_ups import Waker

PER_CALL = 500
ORIGIN = Origin(trigger=Trigger.PIPELINE, correlation_id="bench", workspace_id=None)

# Counts that must each equal the number of videos.
CHECK = """
SELECT (SELECT count(*) FROM publisher.publish_command
        WHERE state = 'published' AND trigger <> 'canary') AS published,
       (SELECT count(*) FROM video v JOIN publisher.video_release r ON r.video_id = v.id
        WHERE NOT v.is_draft AND v.id = ANY(%(ids)s)) AS released,
       (SELECT count(DISTINCT video_id) FROM publisher.outbox_event
        WHERE type = 'video.published') AS videos_with_event,
       (SELECT count(*) FROM publisher.outbox_event) AS events,
       (SELECT max(position) FROM publisher.outbox_event) AS last_position
"""


class Incorrect(Exception):
    """A run that did not publish each video exactly once."""


@contextmanager
def worker(run: Run, concurrency: int = 2) -> Generator[int]:
    """Worker and beat, warmed up as far as the heartbeat; gives the worker's process id."""
    celery = ["celery", "-A", "worker.app"]
    with ExitStack() as stack:
        pid = stack.enter_context(
            python([*celery, "worker", "-c", str(concurrency)], "worker", run.environment, run.logs)
        )
        stack.enter_context(python([*celery, "beat"], "beat", run.environment, run.logs))
        wait_for(lambda: run.redis.exists(HEARTBEAT) == 1, "the worker's heartbeat")
        yield pid


@contextmanager
def api(run: Run) -> Generator[tuple[int, int]]:
    """An API process that answers; gives its process id and its port."""
    port = free_port()
    command = ["uvicorn", "worker.api:app", "--port", str(port), "--log-level", "warning"]
    with python([*command, "--ws", "none"], "api", run.environment, run.logs) as pid:
        wait_for(lambda: _is_healthy(port), "the API")
        yield pid, port


def _is_healthy(port: int) -> bool:
    try:
        return httpx.get(f"http://127.0.0.1:{port}/healthz").is_success
    except httpx.TransportError:
        return False


def make_waker(run: Run) -> Waker:
    """Make a Waker like that of any producer."""
    redis_url = run.environment["REDIS_URL"]
    producer = make_producer(Settings(redis_url=redis_url))
    return Waker(redis=open_hint_redis(redis_url), send=partial(send_wake_up, producer))


def enqueue_all(engine: Engine, waking: Waker, video_ids: Sequence[int]) -> None:
    """Enqueue 500 videos at a time."""
    rest = iter(video_ids)
    while batch := [PublishRequest(video_id=video_id) for video_id in islice(rest, PER_CALL)]:
        enqueue(engine, waking, batch, ORIGIN)


def accept(run: Run, videos: Iterable[tuple[int, datetime | None]]) -> list[UUID]:
    """Enqueue videos with the times they are to be published at, 500 at a time."""
    waking = make_waker(run)
    rest = (PublishRequest(video_id=video_id, publish_at=at) for video_id, at in videos)
    ids: list[UUID] = []
    while batch := list(islice(rest, PER_CALL)):
        ids += [each.id for each in enqueue(run.engine, waking, batch, ORIGIN).commands]
    return ids


def wait_for_position(run: Run, position: int, seconds: float = 120) -> None:
    """Wait until the stream has reached a position: it began empty, its length is the position."""
    wait_for(lambda: run.redis.xlen(STREAM) >= position, f"event {position}", seconds)


def check(run: Run, video_ids: Sequence[int]) -> None:
    """Check that each video was published once, with one event, and that the stream has no gap."""
    wanted = len(video_ids)
    with transaction(run.engine) as tx:
        counts = tx.execute(CHECK, {"ids": list(video_ids)}).fetchone()
    if counts != (wanted,) * 5:
        raise Incorrect(f"expected {wanted} of each, found {counts}")
    entries: Any = run.redis.xrange(STREAM)
    ids = [entry_id for entry_id, _ in entries]
    if ids != [f"{position}-0".encode() for position in range(1, wanted + 1)]:
        raise Incorrect(f"the stream's {len(ids)} ids are not 1 to {wanted} without gap")
