"""Redis dies and comes back: commands are accepted meanwhile, and carried out after."""

from collections.abc import Generator
from functools import partial
from pathlib import Path

import pytest
from redis.exceptions import RedisError
from sqlalchemy import Engine

from publish_worker_client.events.names import Trigger
from schemas.command import PublishRequest
from tests.support.pipeline import Pipeline
from tests.support.platform import set_up
from tests.support.processes import Celeries, celeries
from tests.support.valkey import Valkey
from tests.support.waiting import wait_until
from worker.enqueue.accept import Origin, enqueue
from worker.runtime.redis_clients import open_hint_redis
from worker.runtime.wake_ups import Waker


@pytest.fixture
def processes(tmp_path: Path, database_url: str, valkey: Valkey) -> Generator[Celeries]:
    """A worker and beat on the Valkey that will die."""
    with celeries(tmp_path, database_url, valkey.url) as started:
        started.worker()
        started.beat()
        yield started


def test_what_was_accepted_without_redis_is_carried_out_once_it_is_back(
    engine: Engine, valkey: Valkey, processes: Celeries
) -> None:
    set_up(engine)
    pipeline = Pipeline(engine=engine, redis=valkey.client)
    before, during = pipeline.video(), pipeline.video()
    waker = Waker(redis=open_hint_redis(valkey.url), send=lambda _: None)
    origin = Origin(trigger=Trigger.API, correlation_id="c", workspace_id=None)
    enqueue(engine, waker, [PublishRequest(video_id=before)], origin)
    wait_until(lambda: on_stream(valkey) >= 1, "the first event")
    valkey.kill()
    enqueue(engine, waker, [PublishRequest(video_id=during)], origin)
    valkey.start()
    wait_until(lambda: on_stream(valkey) >= 2, "both events on the new, empty Valkey", timeout=30)
    subjects = [event["subject"] for event in pipeline.events()]
    assert subjects == [str(before), str(during)]
    waker.redis.close()
    for celery in processes.started:
        assert celery.is_running
        celery.assert_no_traceback()


def test_worker_and_beat_that_start_before_redis_wait_for_it(
    tmp_path: Path, engine: Engine, database_url: str, valkey: Valkey
) -> None:
    set_up(engine)
    pipeline = Pipeline(engine=engine, redis=valkey.client)
    valkey.kill()
    with celeries(tmp_path, database_url, valkey.url) as processes:
        starting = [processes.start("worker", "--concurrency=1"), processes.start("beat")]
        for celery in starting:
            celery.wait_for("broker.unreachable")
        enqueue_without_redis(pipeline, valkey)
        valkey.start()
        wait_until(lambda: on_stream(valkey) >= 1, "the event")
        for celery in starting:
            assert celery.is_running
            celery.assert_no_traceback()


UNREADABLE = "without rights to read"
"""Beat, which only writes, need not notice it: it asks Redis for an answer twice a minute."""
DEGRADED: dict[str, tuple[str, str]] = {
    "a replica": ("REPLICAOF 127.0.0.1 1", "REPLICAOF NO ONE"),
    "out of memory": ("CONFIG SET maxmemory 1", "CONFIG SET maxmemory 0"),
    "without replicas": (
        "CONFIG SET min-replicas-to-write 1",
        "CONFIG SET min-replicas-to-write 0",
    ),
    "with another password": ("CONFIG SET requirepass other", "CONFIG SET requirepass {}"),
    "without rights": ("ACL SETUSER default -@write", "ACL SETUSER default +@all"),
    UNREADABLE: ("ACL SETUSER default -brpop -ping", "ACL SETUSER default +@all"),
}
"""States in which Redis answers with errors, and the way back."""


@pytest.mark.parametrize("state", DEGRADED)
def test_worker_and_beat_wait_while_redis_answers_with_an_error_and_go_on_after(
    engine: Engine, valkey: Valkey, processes: Celeries, state: str
) -> None:
    set_up(engine)
    pipeline = Pipeline(engine=engine, redis=valkey.client)
    worker, beat = processes.started
    begin, end = DEGRADED[state]
    run(valkey, begin)
    run(valkey, "CLIENT KILL TYPE normal SKIPME yes")
    wait_until(partial(worker.says, "broker.unreachable"), "the worker to notice")
    if state != UNREADABLE:
        wait_until(partial(beat.says, "broker.unreachable"), "beat to notice")
    enqueue_without_redis(pipeline, valkey)
    run(valkey, end)
    wait_until(lambda: on_stream(valkey) >= 1, "the event")
    for process in (worker, beat):
        assert process.is_running
        process.assert_no_traceback()


def run(valkey: Valkey, command: str) -> None:
    valkey.client.execute_command(*("" if word == "{}" else word for word in command.split()))


def enqueue_without_redis(pipeline: Pipeline, valkey: Valkey) -> None:
    waker = Waker(redis=open_hint_redis(valkey.url), send=lambda _: None)
    origin = Origin(trigger=Trigger.API, correlation_id="c", workspace_id=None)
    enqueue(pipeline.engine, waker, [PublishRequest(video_id=pipeline.video())], origin)
    waker.redis.close()


def on_stream(valkey: Valkey) -> int:
    try:
        return valkey.client.xlen("video.events")
    except RedisError:
        return -1
