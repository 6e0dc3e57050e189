"""Messages on the broker: whatever one of them is, the worker and its processes go on."""

import json
from collections.abc import Callable
from typing import Any

import psutil
import pytest

from tests.support.messages import INVALID, UNUSUAL, encode, envelope, protocol_1
from tests.support.pipeline import Pipeline
from tests.support.processes import Celeries, Celery, count_published
from tests.support.waiting import wait_until

QUEUE = "publish-worker:celery:publish"
UNACKNOWLEDGED = "publish-worker:celery:unacked"
MEMORY = 150 * 2**20
"""More than any of these messages needs; unpacked, the smallest would take 400 MB."""

SendTask = Callable[..., object]


def push(pipeline: Pipeline, *messages: Any) -> None:
    for message in messages:
        pipeline.redis.lpush(QUEUE, message if isinstance(message, str) else json.dumps(message))


def count_quarantined(pipeline: Pipeline) -> int:
    return pipeline.value("SELECT count(*) FROM publisher.quarantined_message")


def peak_memory(worker: Celery) -> int:
    """Of the main process, in bytes, beyond what it has now."""
    with open(f"/proc/{worker.process.pid}/status") as status:  # noqa: PTH123 - no file
        peak = next(line for line in status if line.startswith("VmHWM"))
    return int(peak.split()[1]) * 1024 - psutil.Process(worker.process.pid).memory_info().rss


@pytest.mark.parametrize("kind", INVALID)
def test_invalid_messages_are_quarantined_and_acknowledged_and_every_process_goes_on(
    pipeline: Pipeline, celery: Celeries, send_task: SendTask, kind: str
) -> None:
    worker = celery.worker(concurrency=2)
    push(pipeline, *INVALID[kind])
    for _ in range(5):
        send_task("publish.enqueue", kwargs={"video_id": pipeline.video()})
    wait_until(lambda: count_published(pipeline) >= 5, "the worker to go on", timeout=60)
    wait_until(lambda: not pipeline.redis.hlen(UNACKNOWLEDGED), "every message to be acknowledged")
    assert count_quarantined(pipeline) == len(INVALID[kind])
    assert worker.is_running
    worker.assert_no_traceback()
    assert peak_memory(worker) < MEMORY


def test_unusual_parts_that_no_task_reads_make_no_message_invalid(
    pipeline: Pipeline, celery: Celeries
) -> None:
    celery.worker()
    for parts in UNUSUAL:
        body = encode([[], {"video_id": pipeline.video()}, {"callbacks": 5, "chain": "x"}])
        push(pipeline, envelope(body=body, **parts))
    wait_until(lambda: count_published(pipeline) >= len(UNUSUAL), "the videos to be published")
    assert not count_quarantined(pipeline)


@pytest.mark.parametrize("headers", [{}, {"headers": {}}, {"headers": None}])
def test_a_message_of_protocol_1_is_carried_out(
    pipeline: Pipeline, celery: Celeries, headers: dict[str, Any]
) -> None:
    celery.worker()
    push(pipeline, protocol_1(pipeline.video(), **headers))
    wait_until(lambda: count_published(pipeline) >= 1, "the video to be published")
    assert not count_quarantined(pipeline)


def test_a_wake_up_of_protocol_1_is_carried_out_and_does_not_come_again(
    pipeline: Pipeline, celery: Celeries
) -> None:
    body: dict[str, Any] = {"id": "7", "task": "publish.run_due", "args": [], "kwargs": {}}
    pipeline.accept(pipeline.video())
    push(pipeline, protocol_1(1, body=encode(body)))
    worker = celery.worker()
    wait_until(lambda: count_published(pipeline) >= 1, "the video to be published")
    worker.stop()
    assert not pipeline.redis.hlen(UNACKNOWLEDGED)
    assert not pipeline.redis.llen(QUEUE)


def test_a_message_of_protocol_1_returns_to_its_queue_while_the_inbox_takes_nothing(
    pipeline: Pipeline, celery: Celeries
) -> None:
    video = pipeline.video()
    worker = celery.worker()
    pipeline.execute("ALTER TABLE publisher.publish_command RENAME TO elsewhere")
    push(pipeline, protocol_1(video))
    wait_until(lambda: pipeline.redis.hlen(UNACKNOWLEDGED), "the worker to read the message")
    worker.kill()
    pipeline.execute("ALTER TABLE publisher.elsewhere RENAME TO publish_command")
    pipeline.redis.zadd("publish-worker:celery:unacked_index", {tag(pipeline): 0})
    celery.worker()
    wait_until(lambda: count_published(pipeline) >= 1, "the message to come again")


def test_an_unreadable_unacknowledged_message_does_not_end_the_workers(
    pipeline: Pipeline, celery: Celeries, send_task: SendTask
) -> None:
    unreadable = [b"x", b"\xff", b"5", b"[]", b"[1, 2]"]
    for number, item in enumerate(unreadable):
        pipeline.redis.hset(UNACKNOWLEDGED, str(number), item)  # pyright: ignore[reportArgumentType]
        pipeline.redis.zadd("publish-worker:celery:unacked_index", {str(number): 0})
    worker = celery.worker()
    send_task("publish.enqueue", kwargs={"video_id": pipeline.video()})
    wait_until(lambda: count_published(pipeline) >= 1, "the worker to go on")
    index = "publish-worker:celery:unacked_index"
    wait_until(lambda: not pipeline.redis.zcard(index), "the message to be acknowledged")
    wait_until(lambda: count_quarantined(pipeline) >= len(unreadable), "the others in quarantine")
    assert count_quarantined(pipeline) == len(unreadable)
    assert worker.is_running


def tag(pipeline: Pipeline) -> Any:
    [found] = pipeline.redis.hkeys(UNACKNOWLEDGED)  # pyright: ignore[reportGeneralTypeIssues]
    return found
