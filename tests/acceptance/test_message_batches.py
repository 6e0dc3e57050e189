"""Batches of `publish.enqueue` messages: processes are killed, and each message is one command."""

import os
import signal
from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import Any
from uuid import uuid4

import psutil
import pytest

from db.session import lift_limits, transaction
from tests.support.frozen import frozen_redis
from tests.support.pipeline import Pipeline
from tests.support.processes import Celeries, Celery, count_published
from tests.support.waiting import wait_until

QUEUE = "publish-worker:celery:publish"
UNACKNOWLEDGED = "publish-worker:celery:unacked"
VISIBILITY = "publish-worker:celery:unacked_index"
HELD = 40
COMMANDS = "SELECT count(*) FROM publisher.publish_command WHERE trigger = 'queue'"
REMEMBER = """
INSERT INTO publisher.idempotency_key (scope, key, digest, command_ids)
VALUES ('queue', %s, '', '{}')
"""

SendTask = Callable[..., object]


def count_commands(pipeline: Pipeline) -> int:
    return pipeline.value(COMMANDS)


def count_unacknowledged(pipeline: Pipeline) -> int:
    count: int = pipeline.redis.hlen(UNACKNOWLEDGED)  # pyright: ignore[reportAssignmentType]
    return count


def find_waiting(pipeline: Pipeline) -> set[tuple[int]]:
    """The database's sessions that wait for a lock."""
    return set(
        pipeline.rows(
            "SELECT pid FROM pg_stat_activity"
            " WHERE datname = current_database() AND wait_event_type = 'Lock'"
        )
    )


def kill_pool_process(worker: Celery) -> None:
    [process] = psutil.Process(worker.process.pid).children()
    os.kill(process.pid, signal.SIGKILL)


def let_visibility_timeout_pass(pipeline: Pipeline) -> None:
    """Ten minutes, for the messages of a worker that was killed."""
    tags: Any = pipeline.redis.zrange(VISIBILITY, 0, -1)
    for tag in tags:
        pipeline.redis.zadd(VISIBILITY, {tag: 0})


@contextmanager
def locking(pipeline: Pipeline, statement: str, *values: str) -> Generator[None]:
    """Lock what the statement touches, for as long as the block takes."""
    with transaction(pipeline.engine) as tx:
        lift_limits(tx)
        tx.execute(statement, values or None)  # pyright: ignore[reportArgumentType, reportCallIssue]
        yield


@contextmanager
def holding_messages(pipeline: Pipeline, send_task: SendTask) -> Generator[None]:
    """Let the worker have one message in its pool process, and hold the others."""
    videos = [pipeline.video() for _ in range(HELD)]
    with locking(pipeline, "LOCK TABLE publisher.publish_command"):
        send_task("publish.enqueue", kwargs={"video_id": videos[0]})
        wait_until(lambda: find_waiting(pipeline), "the pool process to have a message")
        for video in videos[1:]:
            send_task("publish.enqueue", kwargs={"video_id": video})
        wait_until(lambda: count_unacknowledged(pipeline) == HELD, "the worker to hold the others")
        yield


def assert_each_is_one_command(pipeline: Pipeline) -> None:
    wait_until(lambda: count_commands(pipeline) >= HELD, "every message to be accepted", timeout=60)
    wait_until(
        lambda: not count_unacknowledged(pipeline) and not pipeline.redis.llen(QUEUE),
        "every message to be acknowledged",
        timeout=60,
    )
    assert count_commands(pipeline) == HELD


def test_messages_that_were_held_share_a_transaction(
    pipeline: Pipeline, celery: Celeries, send_task: SendTask
) -> None:
    celery.worker()
    with holding_messages(pipeline, send_task):
        pass
    assert_each_is_one_command(pipeline)
    transactions = "SELECT count(DISTINCT accepted_at) FROM publisher.publish_command"
    assert pipeline.value(transactions + " WHERE trigger = 'queue'") == 2


def test_the_messages_of_a_killed_pool_process_are_accepted_by_the_next_one(
    pipeline: Pipeline, celery: Celeries, send_task: SendTask
) -> None:
    worker = celery.worker()
    with holding_messages(pipeline, send_task):
        alone = find_waiting(pipeline)
        kill_pool_process(worker)
        wait_until(lambda: find_waiting(pipeline) - alone, "the batch of the others to begin")
        kill_pool_process(worker)
    assert_each_is_one_command(pipeline)
    assert worker.is_running


def test_the_messages_of_a_killed_worker_are_accepted_by_another_one(
    pipeline: Pipeline, celery: Celeries, send_task: SendTask
) -> None:
    worker = celery.worker()
    with holding_messages(pipeline, send_task):
        worker.kill()
    let_visibility_timeout_pass(pipeline)
    celery.worker()
    assert_each_is_one_command(pipeline)


def test_a_worker_that_is_asked_to_end_gives_back_the_messages_that_it_holds(
    pipeline: Pipeline, celery: Celeries, send_task: SendTask
) -> None:
    worker = celery.worker()
    with holding_messages(pipeline, send_task):
        worker.begin_end()
    assert worker.process.wait(60) == 0
    assert not count_unacknowledged(pipeline)
    assert count_commands(pipeline) == 1
    celery.worker()
    assert_each_is_one_command(pipeline)


@contextmanager
def losing_batch_and_broker(
    pipeline: Pipeline, send_task: SendTask, worker: Celery
) -> Generator[None]:
    """Kill a pool process with a batch while the broker, which is to take it back, is frozen."""
    with holding_messages(pipeline, send_task):
        alone = find_waiting(pipeline)
        kill_pool_process(worker)
        wait_until(lambda: find_waiting(pipeline) - alone, "the batch of the others to begin")
        with frozen_redis(pipeline.redis):
            kill_pool_process(worker)
            worker.wait_for("message.not_taken_back")
            yield


def test_messages_that_the_broker_could_not_take_back_are_accepted_when_it_answers_again(
    pipeline: Pipeline, celery: Celeries, send_task: SendTask
) -> None:
    worker = celery.worker()
    with losing_batch_and_broker(pipeline, send_task, worker):
        pass
    assert_each_is_one_command(pipeline)
    assert worker.is_running


def test_messages_that_the_broker_does_not_take_back_do_not_delay_the_end_of_the_worker(
    pipeline: Pipeline, celery: Celeries, send_task: SendTask
) -> None:
    worker = celery.worker()
    with losing_batch_and_broker(pipeline, send_task, worker):
        assert worker.stop(timeout=45) == 0
    let_visibility_timeout_pass(pipeline)
    celery.worker()
    assert_each_is_one_command(pipeline)


def test_messages_that_are_held_when_the_connection_is_lost_are_accepted_once(
    pipeline: Pipeline, celery: Celeries, send_task: SendTask
) -> None:
    worker = celery.worker()
    with holding_messages(pipeline, send_task):
        pipeline.redis.execute_command("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
        worker.wait_for("Connection to broker lost")
    let_visibility_timeout_pass(pipeline)
    assert_each_is_one_command(pipeline)
    send_task("publish.enqueue", kwargs={"video_id": pipeline.video()})
    wait_until(lambda: count_commands(pipeline) > HELD, "the worker to go on")


def test_a_message_that_waits_for_a_lock_holds_up_neither_messages_nor_wake_ups(
    pipeline: Pipeline, celery: Celeries, send_task: SendTask
) -> None:
    celery.worker(concurrency=2)
    locked = str(uuid4())
    with locking(pipeline, REMEMBER, locked):
        send_task("publish.enqueue", kwargs={"video_id": pipeline.video()}, task_id=locked)
        wait_until(lambda: find_waiting(pipeline), "the message to be read")
        for _ in range(HELD):
            send_task("publish.enqueue", kwargs={"video_id": pipeline.video()})
        wait_until(lambda: count_published(pipeline) >= HELD, "the others to be published")


@pytest.mark.parametrize("bad", [{"video_id": 999_999}, {"vdeo_id": 1}])
def test_a_bad_message_in_a_batch_is_quarantined(
    pipeline: Pipeline, celery: Celeries, send_task: SendTask, bad: dict[str, int]
) -> None:
    celery.worker()
    quarantined = "SELECT count(*) FROM publisher.quarantined_message"
    with holding_messages(pipeline, send_task):
        send_task("publish.enqueue", kwargs=bad)
        send_task("publish.enqueue_batch", args=[[]])
        wait_until(lambda: count_unacknowledged(pipeline) > HELD, "the worker to hold it too")
    assert_each_is_one_command(pipeline)
    wait_until(lambda: pipeline.value(quarantined) == 2, "both messages to be quarantined")
