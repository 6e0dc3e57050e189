"""Nothing lost, nothing twice: real processes, real SIGKILL, messages doubled, dropped, flushed."""

import random
import threading
from collections import Counter
from collections.abc import Callable

import pytest
from redis import Redis

from db.commands.canary import VIDEO_ID as CANARY
from db.session import transaction
from publish_worker_client.events.names import Trigger
from schemas.command import PublishRequest
from tests.support.pipeline import Pipeline, ids
from tests.support.platform import make_ready_videos
from tests.support.processes import Celeries, count_published
from tests.support.waiting import wait_until
from worker.enqueue.accept import Origin, enqueue
from worker.runtime.wake_ups import Waker

COMMANDS = 10_000
PER_CALL = 500
SendTask = Callable[..., object]
FATES = [
    pytest.param("doubled", marks=pytest.mark.slow),
    pytest.param("dropped", marks=pytest.mark.slow),
    "flushed",
]


@pytest.fixture
def videos(pipeline: Pipeline) -> list[int]:
    """Ten thousand ready drafts."""
    with transaction(pipeline.engine) as tx:
        return make_ready_videos(tx, COMMANDS)


@pytest.mark.slow
def test_two_of_four_workers_are_killed_at_random(
    pipeline: Pipeline, celery: Celeries, videos: list[int], send_task: SendTask
) -> None:
    workers = [celery.worker() for _ in range(4)]
    celery.beat()
    whims = random.Random()  # noqa: S311 - which worker dies when is not a secret
    moments = sorted(whims.sample(range(1_000, COMMANDS - 1_000, 100), 2))
    victims = whims.sample(workers, 2)
    enqueuing = in_thread(lambda: enqueue_all(pipeline, videos, lambda: wake(send_task)))
    for moment, victim in zip(moments, victims, strict=True):
        wait_until(
            lambda at=moment: count_published(pipeline) >= at,
            f"{moment} to be published",
            every=0.001,
        )
        victim.kill()
    enqueuing.join()
    wait_until(lambda: count_published(pipeline) >= COMMANDS, "all to be published", timeout=60)
    assert_each_once(pipeline, videos)
    assert [worker.is_running for worker in workers].count(True) == 2


@pytest.mark.parametrize("fate", FATES)
def test_lost_and_duplicated_messages_lose_and_repeat_nothing(
    pipeline: Pipeline, celery: Celeries, videos: list[int], send_task: SendTask, fate: str
) -> None:
    def send() -> None:
        match fate:
            case "doubled":
                wake(send_task)
                wake(send_task)
            case "dropped":
                pass
            case _:
                wake(send_task)
                pipeline.redis.flushall()

    celery.worker(concurrency=2)
    celery.beat()
    enqueue_all(pipeline, videos, send)
    wait_until(lambda: count_published(pipeline) >= COMMANDS, "all to be published", timeout=60)
    assert_each_once(pipeline, videos)


@pytest.mark.slow
def test_valkey_is_emptied_again_and_again_while_the_worker_runs(
    pipeline: Pipeline, celery: Celeries, videos: list[int], send_task: SendTask
) -> None:
    celery.worker(concurrency=2)
    celery.beat()
    enqueue_all(pipeline, videos, lambda: wake(send_task))
    for share in (0.2, 0.5, 0.8):
        wait_until(
            lambda at=share: count_published(pipeline) >= at * COMMANDS, f"{share:.0%}", timeout=60
        )
        pipeline.redis.flushall()
    wait_until(lambda: count_published(pipeline) >= COMMANDS, "all to be published", timeout=60)
    assert_each_once(pipeline, videos)


def enqueue_all(pipeline: Pipeline, videos: list[int], send: Callable[[], None]) -> None:
    """Enqueue in calls of five hundred, as a busy producer does."""
    waker = Waker(redis=pipeline.redis, send=lambda _: send())
    for start in range(0, len(videos), PER_CALL):
        requests = [PublishRequest(video_id=v) for v in videos[start : start + PER_CALL]]
        enqueue(
            pipeline.engine,
            waker,
            requests,
            Origin(trigger=Trigger.API, correlation_id="c", workspace_id=None),
        )


def wake(send_task: SendTask) -> None:
    send_task("publish.run_due")


def assert_each_once(pipeline: Pipeline, videos: list[int]) -> None:
    """Every video published once, one event for each, positions without gap, all on the stream."""
    states = pipeline.rows(
        "SELECT state, count(*) FROM publisher.publish_command WHERE video_id < %s GROUP BY state",
        CANARY,
    )
    assert states == [("published", COMMANDS)]
    assert pipeline.value("SELECT count(*) FROM video WHERE is_draft AND id < %s", CANARY) == 0
    revision = "SELECT max(revision) FROM publisher.video_release WHERE video_id < %s"
    assert pipeline.value(revision, CANARY) == 1
    wait_until(lambda: on_the_stream(pipeline.redis) >= COMMANDS, "all events on the stream")
    assert ids(pipeline.redis) == [f"{position}-0" for position in range(1, COMMANDS + 1)]
    subjects = Counter(int(event["subject"]) for event in pipeline.events())
    assert subjects == Counter(videos)


def on_the_stream(redis: Redis) -> int:
    return redis.xlen("video.events")


def in_thread(action: Callable[[], None]) -> threading.Thread:
    thread = threading.Thread(target=action)
    thread.start()
    return thread
