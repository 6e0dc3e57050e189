"""Beat and the queue: what it sends without a worker, and without a broker."""

import json
import signal
from collections.abc import Generator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

import psutil
import pytest

from db.session import lift_limits, transaction
from tests.support.messages import encode, envelope
from tests.support.pipeline import Pipeline
from tests.support.processes import Celeries, Celery, celeries, count_published
from tests.support.valkey import Valkey
from tests.support.waiting import wait_until

QUEUE = "publish-worker:celery:publish"
ACCEPTED = "SELECT count(*) FROM publisher.publish_command WHERE trigger = 'queue'"
WAITING = """
SELECT count(*) FROM pg_stat_activity
 WHERE datname = current_database() AND wait_event_type = 'Lock'
"""


@pytest.fixture
def processes(tmp_path: Path, database_url: str, valkey: Valkey) -> Generator[Celeries]:
    with celeries(tmp_path, database_url, valkey.url) as started:
        yield started


def count_calls(valkey: Valkey, command: str) -> int:
    stats: Any = valkey.client.info("commandstats")
    return stats.get(f"cmdstat_{command}", {}).get("calls", 0)


def waiting_tasks(valkey: Valkey) -> list[str]:
    items: Any = valkey.client.lrange(QUEUE, 0, -1)
    return sorted(json.loads(item)["headers"]["task"] for item in items)


@pytest.mark.slow
def test_sweeps_do_not_pile_up_without_a_worker(valkey: Valkey, processes: Celeries) -> None:
    processes.beat()
    wait_until(lambda: count_calls(valkey, "lrange") > 30, "beat to look several times")
    tasks = waiting_tasks(valkey)
    assert "publish.run_due" in tasks
    assert tasks == sorted(set(tasks))


def test_stale_wake_ups_are_discarded_in_bulk_and_the_messages_between_them_carried_out(
    pipeline: Pipeline, valkey: Valkey, processes: Celeries
) -> None:
    past = (datetime.now(UTC) - timedelta(minutes=1)).isoformat()
    stale = {"task": "publish.run_due", "expires": past}
    for _ in range(3):
        entries = [json.dumps(envelope(stale, body=encode([[], {}, {}]))) for _ in range(1_500)]
        valkey.client.lpush(QUEUE, *entries)
        body = encode([[], {"video_id": pipeline.video()}, {}])
        valkey.client.lpush(QUEUE, json.dumps(envelope(body=body)))
    processes.worker()
    wait_until(lambda: count_published(pipeline) >= 3, "the videos to be published")
    assert valkey.client.llen(QUEUE) == 0
    assert count_calls(valkey, "brpop") < 100


@pytest.mark.slow
def test_beat_logs_a_lost_broker_with_growing_pauses_and_sends_again_once_it_is_back(
    valkey: Valkey, processes: Celeries
) -> None:
    beat = processes.beat()
    wait_until(lambda: valkey.client.llen(QUEUE), "beat to send")
    valkey.kill()
    wait_until(lambda: len(read_pauses(beat.log)) >= 3, "three lines")
    valkey.start()
    wait_until(lambda: valkey.client.llen(QUEUE), "beat to send again")
    assert read_pauses(beat.log)[:3] == [1, 2, 4]
    beat.assert_no_traceback()


def read_pauses(log: Path) -> list[float]:
    """The seconds for which the outage is not logged again, of each line on it."""
    entries = [json.loads(line) for line in log.read_text().splitlines() if line.startswith("{")]
    lost = [entry for entry in entries if entry["event"] == "broker.unreachable"]
    times = [datetime.fromisoformat(entry["timestamp"]) for entry in lost]
    for (earlier, later), entry in zip(pairwise(times), lost, strict=False):
        assert (later - earlier).total_seconds() > entry["repeated"] - 0.1
    return [entry["repeated"] for entry in lost]


def test_messages_that_redis_hands_over_while_it_is_full_are_not_lost(
    pipeline: Pipeline, valkey: Valkey, processes: Celeries
) -> None:
    worker = processes.worker()
    count = 200
    videos = [pipeline.video() for _ in range(count)]
    entries = [envelope(body=encode([[], {"video_id": video}, {}])) for video in videos]
    fill = valkey.client.pipeline()
    fill.lpush(QUEUE, *(json.dumps(entry) for entry in entries))
    fill.execute_command("CONFIG", "SET", "maxmemory", "1")
    fill.execute()
    wait_until(lambda: worker.says("message.not_noted"), "Redis to be full")
    wait_until(lambda: pipeline.value(ACCEPTED) == count or not valkey.client.llen(QUEUE), "a stop")
    valkey.client.config_set("maxmemory", 0)
    wait_until(lambda: pipeline.value(ACCEPTED) == count, "every command to be accepted")
    assert worker.is_running


@contextmanager
def having_what_redis_could_not_note(
    pipeline: Pipeline, valkey: Valkey, worker: Celery, *messages: dict[str, Any]
) -> Generator[None]:
    """Let the worker have these messages of a full Redis, the first one in its pool process."""
    with transaction(pipeline.engine) as tx:
        lift_limits(tx)
        tx.execute("LOCK TABLE publisher.publish_command")
        fill = valkey.client.pipeline()
        fill.lpush(QUEUE, *map(json.dumps, messages))
        fill.execute_command("CONFIG", "SET", "maxmemory", "1")
        fill.execute()
        wait_until(lambda: pipeline.value(WAITING), "the pool process to have the message")
        noted = "message.not_noted"
        wait_until(lambda: worker.log.read_text().count(noted) == len(messages), "all of them")
        yield


def publish_message(pipeline: Pipeline, **headers: str) -> dict[str, Any]:
    return envelope(headers, body=encode([[], {"video_id": pipeline.video()}, {}]))


def kill_pool_process(worker: Celery) -> None:
    [process] = psutil.Process(worker.process.pid).children()
    process.kill()


def test_messages_that_redis_could_not_note_go_back_when_their_pool_process_is_killed(
    pipeline: Pipeline, valkey: Valkey, processes: Celeries
) -> None:
    worker = processes.worker()
    messages = [publish_message(pipeline) for _ in range(3)]
    with having_what_redis_could_not_note(pipeline, valkey, worker, *messages):
        kill_pool_process(worker)
        worker.wait_for("message.not_taken_back")
        valkey.client.config_set("maxmemory", 0)
    wait_until(lambda: count_published(pipeline) >= 3, "the videos to be published", timeout=60)
    assert not worker.says("Connection to broker lost")


def test_a_message_that_redis_could_not_note_goes_back_when_the_worker_ends(
    pipeline: Pipeline, valkey: Valkey, processes: Celeries
) -> None:
    worker = processes.worker()
    message = publish_message(pipeline)
    with having_what_redis_could_not_note(pipeline, valkey, worker, message):
        kill_pool_process(worker)
        worker.wait_for("message.not_taken_back")
        valkey.client.config_set("maxmemory", 0)
        assert worker.stop() == 0
    assert waiting_tasks(valkey) == ["publish.enqueue"]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGQUIT])
def test_messages_that_redis_could_not_note_are_accepted_by_a_worker_that_ends(
    pipeline: Pipeline, valkey: Valkey, processes: Celeries, number: signal.Signals
) -> None:
    worker = processes.worker()
    messages = [publish_message(pipeline) for _ in range(3)]
    later = publish_message(pipeline, eta="2100-01-01T00:00:00+00:00")
    with having_what_redis_could_not_note(pipeline, valkey, worker, *messages, later):
        worker.process.send_signal(number)
        worker.wait_for("shutdown (MainProcess)")
    worker.process.wait(60)
    assert pipeline.value(ACCEPTED) == 3
    assert pipeline.value("SELECT count(*) FROM publisher.quarantined_message") == 1
