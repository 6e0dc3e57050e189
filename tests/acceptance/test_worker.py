"""The worker as a process: what it does with messages, signals, and a broker that goes away."""

import json
import os
import signal
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

import psutil
import pytest
from celery.__main__ import main

from tests.support.pipeline import Pipeline
from tests.support.processes import Celeries, Celery, count_published
from tests.support.waiting import START_SECONDS, wait_until
from worker.app.pool import AsynPool
from worker.operations import health
from worker.runtime.wake_ups import PUBLISH

QUEUE = "publish-worker:celery:publish"


SendTask = Callable[..., object]
UNDECODABLE = json.dumps(
    {
        "body": "bm90anNvbg==",
        "content-type": "application/json",
        "content-encoding": "utf-8",
        "headers": {},
        "properties": {
            "delivery_tag": "x",
            "delivery_info": {"exchange": "", "routing_key": "publish"},
            "body_encoding": "base64",
        },
    }
).encode()
"""A Kombu message whose body is not the JSON that it claims to be."""


def count_quarantined(pipeline: Pipeline) -> int:
    return pipeline.value("SELECT count(*) FROM publisher.quarantined_message")


def test_a_command_dropped_straight_onto_the_queue_is_carried_out(
    pipeline: Pipeline, celery: Celeries, send_task: SendTask
) -> None:
    video = pipeline.video()
    celery.worker()
    send_task("publish.enqueue", kwargs={"video_id": video})
    wait_until(lambda: count_published(pipeline) >= 1, "the video to be published")
    [(trigger, state)] = pipeline.rows("SELECT trigger, state FROM publisher.publish_command")
    assert (trigger, state) == ("queue", "published")


def test_a_message_delivered_twice_counts_once(
    pipeline: Pipeline, celery: Celeries, send_task: SendTask
) -> None:
    video = pipeline.video()
    for _ in range(2):
        send_task("publish.enqueue", kwargs={"video_id": video}, task_id="the-same")
    celery.worker()
    wait_until(lambda: pipeline.redis.llen(QUEUE) == 0, "the queue to be empty")
    wait_until(lambda: count_published(pipeline) >= 1, "the video to be published")
    assert pipeline.value("SELECT count(*) FROM publisher.publish_command") == 1


def test_the_worker_relays_what_it_publishes(
    pipeline: Pipeline, celery: Celeries, send_task: SendTask
) -> None:
    celery.worker()
    send_task("publish.enqueue", kwargs={"video_id": pipeline.video(), "correlation_id": "c-7"})
    wait_until(lambda: pipeline.redis.xlen("video.events") >= 1, "the event on the stream")
    [event] = pipeline.events()
    assert (event["type"], event["correlationid"]) == ("video.published", "c-7")


def test_a_wake_up_on_redis_reaches_the_worker_without_a_note_of_it(
    pipeline: Pipeline, celery: Celeries
) -> None:
    celery.worker()
    waker = replace(pipeline.waker, is_broker=True)
    pipeline.accept(pipeline.video())
    waker.redis.delete(str(PUBLISH.key))  # the one that `accept` counted
    before: Any = pipeline.redis.info("commandstats")
    waker.wake()
    wait_until(lambda: count_published(pipeline) >= 1, "the video to be published")
    after: Any = pipeline.redis.info("commandstats")
    for command in ("cmdstat_hset", "cmdstat_zadd"):
        assert after.get(command, {}).get("calls") == before.get(command, {}).get("calls")


@pytest.mark.parametrize(
    "entry",
    [
        b"garbage{{{",
        b"\xff\xfe\x00",
        b'{"hello": 1}',
        b"[]",
        b'{"body": 1, "properties": 2, "headers": 3}',
        b'{"body": "x", "properties": {}, "headers": {}}',
        UNDECODABLE,
    ],
)
def test_an_entry_that_is_not_a_message_is_quarantined_and_the_worker_goes_on(
    pipeline: Pipeline, celery: Celeries, send_task: SendTask, entry: bytes
) -> None:
    worker = celery.worker()
    pipeline.redis.lpush(QUEUE, entry)
    wait_until(lambda: count_quarantined(pipeline) >= 1, "the entry to be quarantined")
    send_task("publish.enqueue", kwargs={"video_id": pipeline.video()})
    wait_until(lambda: count_published(pipeline) >= 1, "the worker to go on")
    assert count_quarantined(pipeline) == 1
    assert worker.is_running
    assert worker.says("message.quarantined")


@pytest.mark.parametrize(
    ("task", "message"),
    [
        ("publish.enqueue", {"kwargs": {"video_id": "seven"}}),
        ("publish.enqueue", {"kwargs": {"video_id": 1, "publish_befor": "2026-01-01"}}),
        ("publish.enqueue", {"kwargs": {"video_id": 999_999}}),
        ("publish.enqueue", {"kwargs": {"commands": []}}),
        ("publish.enqueue", {"args": [1]}),
        ("publish.enqueue", {"kwargs": {"video_id": "\ud800"}}),
        ("publish.enqueue", {"kwargs": {"video_id": 1, "idempotency_key": "x" * 256}}),
        ("no.such.task", {}),
    ],
)
def test_an_invalid_message_is_quarantined_and_the_worker_goes_on(
    pipeline: Pipeline, celery: Celeries, send_task: SendTask, task: str, message: dict[str, Any]
) -> None:
    worker = celery.worker()
    send_task(task, **message)
    wait_until(lambda: count_quarantined(pipeline) >= 1, "the message to be quarantined")
    send_task("publish.enqueue", kwargs={"video_id": pipeline.video()})
    wait_until(lambda: count_published(pipeline) >= 1, "the worker to go on")
    assert count_quarantined(pipeline) == 1
    assert worker.is_running


def test_every_log_line_is_json_and_one_id_leads_through_them(
    pipeline: Pipeline, celery: Celeries, send_task: SendTask, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LOG_LEVEL", "DEBUG")  # each published command has a line of its own
    worker = celery.worker()
    kwargs = {"video_id": pipeline.video(), "correlation_id": "c-7"}
    send_task("publish.enqueue", kwargs=kwargs)
    wait_until(lambda: count_published(pipeline) >= 1, "the video to be published")
    worker.stop()
    lines = [line for line in worker.log.read_text().splitlines() if line.startswith("{")]
    entries = [json.loads(line) for line in lines]
    assert {line["event"] for line in entries if line.get("correlation_id") == "c-7"} >= {
        "commands.accepted",
        "command.ended",
    }
    assert any(line.get("logger", "").startswith("celery.") for line in entries)


def test_the_sweep_finds_work_without_a_wake_up(pipeline: Pipeline, celery: Celeries) -> None:
    pipeline.accept(pipeline.video())
    celery.worker()
    celery.beat()
    wait_until(lambda: count_published(pipeline) >= 1, "the sweep to find the command")


def test_sigterm_ends_the_worker_with_its_batch_done(
    pipeline: Pipeline, celery: Celeries, send_task: SendTask
) -> None:
    worker = celery.worker()
    pipeline.accept(*(pipeline.video() for _ in range(300)))
    send_task("publish.run_due")
    wait_until(lambda: count_published(pipeline) > 0, "the worker to begin")
    assert worker.stop(signal.SIGTERM) == 0
    open_commands = pipeline.value(
        "SELECT count(*) FROM publisher.publish_command"
        " WHERE finished_at IS NULL AND trigger <> 'canary'"
    )
    assert open_commands in (0, 300 - count_published(pipeline))


def test_a_pool_process_that_is_killed_is_replaced_and_nothing_is_lost(
    pipeline: Pipeline, celery: Celeries
) -> None:
    worker = celery.worker()
    celery.beat()
    [child] = psutil.Process(worker.process.pid).children()
    os.kill(child.pid, signal.SIGKILL)
    pipeline.accept(pipeline.video())
    wait_until(lambda: count_published(pipeline) >= 1, "the new pool process to publish")
    assert worker.is_running


def test_a_killed_pool_process_is_replaced_without_waiting_for_the_next_regular_look(
    celery: Celeries,
) -> None:
    worker = celery.start("worker", "--concurrency=1", main=look_seldom)
    worker.wait_for("ready.")
    for _ in range(3):
        [child] = psutil.Process(worker.process.pid).children()
        os.kill(child.pid, signal.SIGKILL)
        wait_until(partial(has_other_child, worker, child.pid), "another process")


def look_seldom() -> None:
    """Run Celery with an hour between two regular looks, in place of five seconds."""
    pool: Any = AsynPool
    pool.timers = property(lambda self: {self.maintain_pool: 3_600.0})
    main()


def has_other_child(worker: Celery, pid: int) -> bool:
    children = psutil.Process(worker.process.pid).children()
    return [child.pid != pid for child in children] == [True]


def test_a_task_that_hangs_is_ended_and_its_message_carried_out_later(
    pipeline: Pipeline, celery: Celeries, send_task: SendTask
) -> None:
    worker = celery.start("worker", "--concurrency=1", "task.time_limit=2")
    worker.wait_for("ready.")
    video = pipeline.video()
    with pipeline.holding("LOCK TABLE publisher.publish_command"):
        send_task("publish.enqueue", kwargs={"video_id": video})
        wait_until(lambda: worker.says("Hard time limit"), "the end of the task")
    wait_until(lambda: count_published(pipeline) >= 1, "the video to be published")


@pytest.mark.slow
def test_health_distinguishes_a_worker_that_consumes_from_one_that_does_not(
    pipeline: Pipeline, celery: Celeries, redis_url: str
) -> None:
    worker = celery.worker()
    celery.beat()
    wait_until(lambda: healthy(pipeline, redis_url), "health to be green")
    os.killpg(worker.process.pid, signal.SIGSTOP)
    wait_until(lambda: not healthy(pipeline, redis_url), "health to be red", timeout=START_SECONDS)
    os.killpg(worker.process.pid, signal.SIGCONT)
    wait_until(
        lambda: healthy(pipeline, redis_url), "health to be green again", timeout=START_SECONDS
    )


def healthy(pipeline: Pipeline, redis_url: str) -> bool:
    return all(check.ok for check in health.examine(pipeline.engine, pipeline.redis, redis_url))
