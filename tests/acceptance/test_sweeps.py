"""Beat and the queue: what it sends without a worker, and without a broker."""

import json
from collections.abc import Generator
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

import psutil
import pytest

from db.session import lift_limits, transaction
from tests.support.messages import encode, envelope
from tests.support.pipeline import Pipeline
from tests.support.processes import Celeries, celeries, count_published
from tests.support.valkey import Valkey
from tests.support.waiting import wait_until

QUEUE = "publish-worker:celery:publish"


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
    wait_until(lambda: len(outage_times(beat.log)) >= 4, "four lines")
    valkey.start()
    wait_until(lambda: valkey.client.llen(QUEUE), "beat to send again")
    times = outage_times(beat.log)
    pauses = [(later - earlier).total_seconds() for earlier, later in pairwise(times)]
    assert pauses[:3] == sorted(pauses[:3])
    assert pauses[0] >= 1
    beat.assert_no_traceback()


def outage_times(log: Path) -> list[datetime]:
    entries = [json.loads(line) for line in log.read_text().splitlines() if line.startswith("{")]
    lost = [entry for entry in entries if entry["event"] == "broker.unreachable"]
    return [datetime.fromisoformat(entry["timestamp"]) for entry in lost]


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
    accepted = "SELECT count(*) FROM publisher.publish_command WHERE trigger = 'queue'"
    wait_until(lambda: worker.says("message.not_noted"), "Redis to be full")
    wait_until(lambda: pipeline.value(accepted) == count or not valkey.client.llen(QUEUE), "a stop")
    valkey.client.config_set("maxmemory", 0)
    wait_until(lambda: pipeline.value(accepted) == count, "every command to be accepted")
    assert worker.is_running


def test_a_message_that_redis_could_not_note_goes_back_when_its_pool_process_is_killed(
    pipeline: Pipeline, valkey: Valkey, processes: Celeries
) -> None:
    worker = processes.worker()
    body = encode([[], {"video_id": pipeline.video()}, {}])
    with transaction(pipeline.engine) as tx:
        lift_limits(tx)
        tx.execute("LOCK TABLE publisher.publish_command")
        fill = valkey.client.pipeline()
        fill.lpush(QUEUE, json.dumps(envelope(body=body)))
        fill.execute_command("CONFIG", "SET", "maxmemory", "1")
        fill.execute()
        waiting = (
            "SELECT count(*) FROM pg_stat_activity"
            " WHERE datname = current_database() AND wait_event_type = 'Lock'"
        )
        wait_until(lambda: pipeline.value(waiting), "the pool process to have the message")
        assert worker.says("message.not_noted")
        valkey.client.config_set("maxmemory", 0)
        [process] = psutil.Process(worker.process.pid).children()
        process.kill()
    wait_until(lambda: count_published(pipeline) >= 1, "the video to be published")
