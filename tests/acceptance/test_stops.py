"""The end of a worker: it comes soon, and nothing that a pool process has is lost."""

import os
import termios
from array import array
from collections.abc import Callable, Generator
from contextlib import suppress
from fcntl import ioctl
from pathlib import Path

import psutil
import pytest
from celery.__main__ import main

from tests.support.pipeline import Pipeline
from tests.support.processes import Celeries, Celery, count_published
from tests.support.waiting import wait_until
from worker.app import signals

UNACKNOWLEDGED = "publish-worker:celery:unacked"
MORE_THAN_A_PIPE_HOLDS = "x" * 200_000

SendTask = Callable[..., object]


def count_unread(process: psutil.Process) -> int:
    """The bytes in the pipes that a process reads from."""
    count = array("i", [0])
    total = 0
    for path in filter(Path.is_fifo, Path(f"/proc/{process.pid}/fd").iterdir()):
        with suppress(OSError):  # the other end of a pipe that is closed
            descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
            ioctl(descriptor, termios.FIONREAD, count)
            os.close(descriptor)
            total += count[0]
    return total


def suspend_idle_process(worker: Celery) -> psutil.Process:
    """Suspend the pool process once it waits for a task."""
    [process] = psutil.Process(worker.process.pid).children()
    worker.process.wait_until_in("receive", process)
    process.suspend()
    return process


@pytest.fixture
def worker(celery: Celeries) -> Celery:
    return celery.worker()


@pytest.fixture
def process(worker: Celery) -> Generator[psutil.Process]:
    """Its pool process, which reads nothing until it is resumed."""
    suspended = suspend_idle_process(worker)
    yield suspended
    with suppress(psutil.NoSuchProcess):
        suspended.resume()


def end(worker: Celery, process: psutil.Process) -> None:
    """SIGTERM; the pool process goes on once the worker reads no more messages."""
    worker.begin_end()
    process.resume()
    assert worker.stop() == 0


def test_a_task_that_its_process_has_not_read_yet_is_finished(
    pipeline: Pipeline, worker: Celery, process: psutil.Process, send_task: SendTask
) -> None:
    send_task("publish.enqueue", kwargs={"video_id": pipeline.video()})
    wait_until(lambda: count_unread(process), "the task to be sent")
    end(worker, process)
    assert pipeline.value("SELECT count(*) FROM publisher.publish_command") == 1
    assert pipeline.redis.hlen(UNACKNOWLEDGED) == 0


def test_a_task_of_which_a_part_was_sent_is_finished(
    pipeline: Pipeline, worker: Celery, process: psutil.Process, send_task: SendTask
) -> None:
    send_task("publish.enqueue", kwargs={"unknown": MORE_THAN_A_PIPE_HOLDS})
    wait_until(lambda: count_unread(process), "a part of the task to be sent")
    end(worker, process)
    assert pipeline.value("SELECT count(*) FROM publisher.quarantined_message") == 1
    assert pipeline.redis.hlen(UNACKNOWLEDGED) == 0


def test_a_task_that_was_sent_before_the_broker_was_lost_does_not_delay_the_end(
    pipeline: Pipeline, worker: Celery, process: psutil.Process, send_task: SendTask
) -> None:
    pipeline.accept(pipeline.video())
    send_task("publish.run_due")
    wait_until(lambda: count_unread(process), "the task to be sent")
    pipeline.redis.client_kill_filter(_type="normal", skipme=True)
    wait_until(lambda: worker.log.read_text().count("Connected to") > 1, "a new connection")
    end(worker, process)
    assert count_published(pipeline) == 1


def end_soon() -> None:
    """Run Celery with three seconds for the end of a worker."""
    signals.END_SECONDS = 3.0
    main()


def test_a_worker_that_cannot_end_prints_its_stacks_and_exits(celery: Celeries) -> None:
    worker = celery.start("worker", "--concurrency=1", main=end_soon)
    worker.wait_for("ready.")
    process = suspend_idle_process(worker)
    assert worker.stop() == 1
    assert worker.says("Timeout (0:00:03)!")
    assert worker.says(" in end_soon\n")
    wait_until(lambda: not process.is_running(), "the end of the pool process")
