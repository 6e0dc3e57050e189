"""Heartbeats of processes: written by a thread, over every outage; rows are removed and pruned."""

import os
from collections.abc import Generator
from typing import Any

import psycopg
import pytest
from psycopg import sql
from redis import Redis
from sqlalchemy import Engine

from db import processes
from db.processes import SeenProcess
from db.session import connect, transaction
from schemas.values.process import ProcessRole
from tests.support.api import serving
from tests.support.heartbeats import report
from tests.support.waiting import wait_until
from worker.operations.processes import (
    Activity,
    Identity,
    ProcessHeartbeat,
    Work,
    describe_worker,
)

ALLOW = "ALTER DATABASE {} ALLOW_CONNECTIONS {}"
END_OTHERS = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid()"


@pytest.fixture
def heartbeat(engine: Engine, database_url: str) -> Generator[ProcessHeartbeat]:
    """The running heartbeat of a worker with a queue and an activity."""
    activity, identity = Activity(), Identity(role=ProcessRole.WORKER, name="worker@here")
    activity.note(Work.BATCH)
    made = ProcessHeartbeat(
        connect(database_url, pool_size=1),
        identity,
        lambda: describe_worker(identity, activity, ["publish"], 4),
        owns_engine=True,
        pause_seconds=0.1,
    )
    made.start()
    wait_until(lambda: read(engine), "the first heartbeat")
    yield made
    made.stop()


def read(engine: Engine) -> list[SeenProcess]:
    with transaction(engine) as tx:
        return processes.read(tx)


@pytest.mark.usefixtures("heartbeat")
def test_a_worker_reports_its_pool_queues_and_last_batch(engine: Engine) -> None:
    [seen] = read(engine)
    assert (seen.role, seen.name, seen.processes) == ("worker", "worker@here", 4)
    assert (seen.queues, seen.is_alive) == (["publish"], True)
    assert seen.version != "unknown"
    assert seen.batch_at is not None
    assert seen.relay_at is None


def test_an_orderly_end_removes_the_row(engine: Engine, heartbeat: ProcessHeartbeat) -> None:
    heartbeat.stop()
    assert read(engine) == []


@pytest.mark.usefixtures("heartbeat")
def test_the_thread_outlives_a_restart_of_the_database(
    engine: Engine, admin: psycopg.Connection, caplog: Any
) -> None:
    """After a crash an unlogged table is empty, too."""
    name = sql.Identifier(engine.url.database or "")
    with transaction(engine) as tx:
        admin.execute(sql.SQL(ALLOW).format(name, sql.SQL("false")))
        tx.execute(f"{END_OTHERS} AND datname = current_database()")  # pyright: ignore[reportArgumentType, reportCallIssue]
        tx.execute("TRUNCATE publisher.process")
        wait_until(lambda: "heartbeat_lost" in caplog.text, "the outage to be noticed")
        admin.execute(sql.SQL(ALLOW).format(name, sql.SQL("true")))
    [seen] = wait_until(lambda: read(engine), "the heartbeat to be back")
    assert seen.is_alive


def test_the_memory_of_an_activity_is_shared_with_a_forked_process() -> None:
    activity = Activity()
    child = os.fork()
    if child == 0:
        activity.note(Work.DELIVERY)
        os._exit(0)
    os.waitpid(child, 0)
    assert activity.get_age(Work.DELIVERY) is not None
    assert activity.get_age(Work.RELAY) is None


def test_the_api_reports_itself_while_it_runs(
    platform: Engine, redis: Redis, redis_url: str
) -> None:
    with serving(platform, redis, redis_url):
        [seen] = wait_until(lambda: read(platform), "the API's heartbeat")
        assert (seen.role, seen.processes, seen.is_alive) == ("api", 1, True)
    assert read(platform) == []


def test_rows_without_a_heartbeat_for_a_day_are_pruned(engine: Engine) -> None:
    for seconds_ago in (25 * 3600, 23 * 3600):
        report(engine, ProcessRole.BEAT, seconds_ago=seconds_ago)
    with transaction(engine) as tx:
        assert processes.prune(tx, limit=10) == 1


def test_no_heartbeat_is_written_ahead(engine: Engine) -> None:
    with transaction(engine) as tx:
        query = "SELECT relpersistence FROM pg_class WHERE oid = 'publisher.process'::regclass"
        assert tx.execute(query).fetchone() == ("u",)
