"""This project as it runs in production: worker, beat, and a producer that enqueues 500 a call."""

from collections.abc import Sequence
from functools import partial

from bench.peers import work
from db.session import connect
from publish_worker_client.events.names import Trigger
from schemas.command import PublishRequest
from worker.enqueue.accept import Origin, enqueue
from worker.runtime.producer import make_producer, send_wake_up
from worker.runtime.redis_clients import open_hint_redis
from worker.runtime.settings import Settings
from worker.runtime.wake_ups import Waker

PER_CALL = 500
ORIGIN = Origin(trigger=Trigger.PIPELINE, correlation_id="bench", workspace_id=None)
WORKERS = [
    ["celery", "-A", "worker.app", "worker", "-c", "2"],
    ["celery", "-A", "worker.app", "beat"],
]


def prepare() -> None:
    """Do nothing: the tables are there."""


def open_sender(per_call: int = PER_CALL) -> work.Send:
    """Call `enqueue()` with this number of videos at a time."""
    settings = Settings()
    engine = connect(work.database_url())
    producer = make_producer(settings)

    waker = Waker(
        redis=open_hint_redis(str(settings.redis_url)), send=partial(send_wake_up, producer)
    )

    def send(video_ids: Sequence[int]) -> None:
        for first in range(0, len(video_ids), per_call):
            requests = [
                PublishRequest(video_id=each) for each in video_ids[first : first + per_call]
            ]
            enqueue(engine, waker, requests, ORIGIN)

    return send
