"""Worker and beat over Redis Sentinel: stream, marks and broker follow the primary."""

from collections.abc import Callable, Generator
from pathlib import Path

import pytest
from sqlalchemy import Engine

from publish_worker_client.events.names import Trigger
from publish_worker_client.events.stream_entries import STREAM
from schemas.command import PublishRequest
from tests.support.pipeline import Pipeline
from tests.support.platform import set_up
from tests.support.processes import Celeries, celeries
from tests.support.sentinel import Failover, temporary_failover
from tests.support.waiting import wait_until
from worker.enqueue.accept import Origin, enqueue
from worker.runtime.runtime import Runtime
from worker.runtime.settings import Settings


@pytest.fixture
def failover(tmp_path: Path) -> Generator[Failover]:
    with temporary_failover(tmp_path) as started:
        yield started


@pytest.fixture
def processes(tmp_path: Path, database_url: str, failover: Failover) -> Generator[Celeries]:
    """A worker and beat that know the sentinels alone."""
    with celeries(tmp_path, database_url, failover.url) as started:
        started.worker()
        started.beat()
        yield started


@pytest.fixture
def runtime(database_url: str, failover: Failover) -> Generator[Runtime]:
    """What the API works with."""
    settings = Settings(database_url=database_url, redis_url=failover.url)
    with Runtime.open(settings) as opened:
        yield opened


@pytest.mark.parametrize(
    "lose",
    [
        Failover.kill_primary,
        pytest.param(Failover.freeze_primary, marks=pytest.mark.slow),
        pytest.param(Failover.demote_primary, marks=pytest.mark.slow),
    ],
)
@pytest.mark.usefixtures("limits")
def test_videos_are_published_before_and_after_a_failover(
    engine: Engine,
    failover: Failover,
    processes: Celeries,
    runtime: Runtime,
    lose: Callable[[Failover], object],
) -> None:
    set_up(engine)
    publish(runtime)
    wait_until(lambda: failover.is_replicated(STREAM), "the first event, on the replica")
    failover.lose_primary(lose)
    publish(runtime)
    with failover.client(failover.replica) as primary:
        wait_until(lambda: primary.xlen(STREAM) >= 2, "both events on the new primary", 60)
        assert primary.xlen(STREAM) == 2
    assert all(celery.is_running for celery in processes.started)


def publish(runtime: Runtime) -> None:
    """Accept a command as the API does."""
    video = Pipeline(engine=runtime.engine, redis=runtime.redis).video()
    origin = Origin(trigger=Trigger.API, correlation_id="c", workspace_id=None)
    enqueue(runtime.engine, runtime.waker, [PublishRequest(video_id=video)], origin)
