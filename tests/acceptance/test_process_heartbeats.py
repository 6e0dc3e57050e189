"""Processes as the operator sees them: which run, what they serve, and which one was killed."""

from functools import partial

import pytest
from celery.__main__ import main

from db import processes
from db.processes import SeenProcess
from db.session import transaction
from tests.support.pipeline import Pipeline
from tests.support.processes import Celeries
from tests.support.waiting import PATIENCE, wait_until
from worker.operations import processes as operations
from worker.operations.checks import Check
from worker.operations.health import examine

NEARLY_GONE = "UPDATE publisher.process SET seen_at = clock_timestamp() - interval '16 s'"
"""As if the heartbeats had stopped; a process that lives writes the next one."""


def run() -> None:
    """Run Celery; the end waits longer than in production for the removal of the row."""
    operations.END_SECONDS = PATIENCE
    main()


def read(pipeline: Pipeline) -> dict[str, SeenProcess]:
    """The processes by the part of their names that the test gave."""
    with transaction(pipeline.engine) as tx:
        return {each.name.partition("@")[0]: each for each in processes.read(tx)}


def find_check(pipeline: Pipeline, redis_url: str, name: str) -> Check:
    [check] = [
        each for each in examine(pipeline.engine, pipeline.redis, redis_url) if each.name == name
    ]
    return check


@pytest.mark.slow
def test_workers_and_beat_are_listed_and_a_killed_worker_is_gone(
    pipeline: Pipeline, celery: Celeries, redis_url: str
) -> None:
    find = partial(find_check, pipeline, redis_url)
    killed = celery.start("worker", "--concurrency=2", "-Q", "webhooks")
    beat = celery.start("beat", main=run)
    killed.wait_for("ready.")
    wait_until(lambda: find("beat").ok and "worker0" in read(pipeline), "both heartbeats")
    assert read(pipeline)["worker0"].queues == ["webhooks"]
    assert find("queues").detail == "No worker serves the queue publish."

    pipeline.accept(pipeline.video())
    ended = celery.start("worker", "--concurrency=1", "-Q", "publish", main=run)
    wait_until(lambda: find("queues").ok, "a worker of the queue publish")
    wait_until(lambda: read(pipeline)["worker2"].batch_at, "its first batch in its heartbeat")
    wait_until(lambda: read(pipeline)["worker2"].relay_at, "its first relay in its heartbeat")
    assert "2 workers (3 processes) on queues publish, webhooks" in find("worker").detail

    killed.kill()
    pipeline.execute(NEARLY_GONE)
    wait_until(lambda: read(pipeline)["worker2"].is_alive, "the next heartbeat of the other one")
    assert not read(pipeline)["worker0"].is_alive
    assert find("queues").detail == "No worker serves the queue webhooks."

    assert ended.stop() == 0
    beat.stop()
    assert read(pipeline).keys() == {"worker0"}
