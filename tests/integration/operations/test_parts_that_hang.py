"""Parts that accept what is sent and do not answer: readiness is known within three seconds."""

import socket
import threading
import time
from collections.abc import Callable, Generator
from typing import Any

import psycopg
import pytest

from tests.support.api import Api
from tests.support.frozen import frozen_postgres
from tests.support.pipeline import Pipeline
from worker.operations.deadline import Deadline
from worker.operations.status import survey
from worker.runtime.redis_clients import open_redis

SURELY_LATE = 4.5
"""Seconds: docs/operations.md promises three, a busy machine is slower, the next limit is five."""
LATE = "no answer within 2.5 s"


@pytest.fixture
def black_hole() -> Generator[str]:
    """Host and port of a server that accepts connections and never answers."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield f"127.0.0.1:{server.getsockname()[1]}"


def time_call(call: Callable[[], Any]) -> tuple[Any, float]:
    began = time.monotonic()
    return call(), time.monotonic() - began


def test_the_readiness_of_a_database_that_hangs_is_known_in_time(
    api: Api, admin: psycopg.Connection
) -> None:
    assert api.call("GET", "/readyz", None).json()["checks"][0]["ok"]
    with frozen_postgres(admin):
        answer, seconds = time_call(lambda: api.call("GET", "/readyz", None))
    checks = {check["name"]: check for check in answer.json()["checks"]}
    assert answer.status_code == 503
    assert checks["database"]["detail"] == "The database does not answer."
    assert checks["stream"]["detail"] == "Unknown: the database cannot be read."
    assert checks["redis"]["ok"]
    assert seconds < SURELY_LATE
    assert api.call("GET", "/readyz", None).json()["checks"][0]["ok"], "it heals by itself"


def test_the_status_of_a_redis_and_a_broker_that_hang_is_known_in_time(
    pipeline: Pipeline, black_hole: str
) -> None:
    url, amqp = f"redis://{black_hole}/0", f"amqp://guest:guest@{black_hole}//"
    with open_redis(url) as redis:
        status, seconds = time_call(lambda: survey(pipeline.engine, redis, url, amqp_url=amqp))
    checks = {check.name: check for check in status.checks}
    assert seconds < SURELY_LATE
    assert checks["database"].ok
    assert checks["inbox"].ok, "what needs the database alone is checked all the same"
    assert checks["redis"].detail == f"Redis cannot be used: {LATE}."
    assert checks["redis"].remedy == "Check REDIS_URL and the server."
    assert checks["broker"].detail.startswith("The broker cannot be used: ")
    assert checks["worker"].remedy == "See the check `redis`."
    assert not checks["stream"].ok
    assert not checks["outlet amqp"].ok
    assert (status.due, status.stream_position) == (0, None)


@pytest.mark.slow
def test_everything_may_hang_at_once(
    pipeline: Pipeline, admin: psycopg.Connection, black_hole: str
) -> None:
    url = f"redis://{black_hole}/0"
    with open_redis(url) as redis, frozen_postgres(admin):
        status, seconds = time_call(lambda: survey(pipeline.engine, redis, url))
    assert seconds < SURELY_LATE
    assert not any(check.ok for check in status.checks)
    assert (status.commands, status.stream_position) == (None, None)


def test_an_error_of_a_read_reaches_the_one_who_waits() -> None:
    def read() -> int:
        raise TimeoutError("of the read itself")

    with pytest.raises(TimeoutError, match="of the read itself"):
        Deadline(5).start(read)(0)


def test_a_read_that_is_late_is_not_waited_for() -> None:
    release = threading.Event()
    wait = Deadline(0.05).start(lambda: str(release.wait(60)))
    assert wait("late") == "late"
    release.set()
