"""Parts that accept what is sent and do not answer: readiness is known within three seconds."""

import socket
import threading
import time
from collections.abc import Callable, Generator
from typing import Any, TypeVar

import psycopg
import pytest
from redis import Redis

from tests.support.api import Api
from tests.support.frozen import frozen_postgres
from tests.support.pipeline import Pipeline
from tests.support.waiting import PATIENCE, wait_until
from worker.operations import health
from worker.operations.deadline import Deadline
from worker.operations.health import ANSWER_SECONDS
from worker.operations.status import Status, survey
from worker.runtime.redis_clients import open_redis

T = TypeVar("T")

LATE = f"no answer within {ANSWER_SECONDS:g} s"


@pytest.fixture(autouse=True)
def one_limit(patience: pytest.MonkeyPatch) -> None:
    """The limit that docs/operations.md promises; the parts' own ones are longer than PATIENCE."""
    patience.setattr(health, "ANSWER_SECONDS", ANSWER_SECONDS)


@pytest.fixture
def black_hole() -> Generator[str]:
    """Host and port of a server that accepts connections and never answers."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield f"127.0.0.1:{server.getsockname()[1]}"


def read_checks(api: Api) -> dict[str, dict[str, Any]]:
    """What `/readyz` says, by name; a worker does not run."""
    answer = api.call("GET", "/readyz", None)
    assert answer.status_code == 503
    return {check["name"]: check for check in answer.json()["checks"]}


@pytest.fixture
def silent(black_hole: str) -> Generator[Redis]:
    """A client for work, without its own limit of five seconds."""
    with open_redis(f"redis://{black_hole}/0") as redis:
        redis.connection_pool.connection_kwargs["socket_timeout"] = 2 * PATIENCE
        yield redis


def ask_in_time(ask: Callable[[], T], are_others_ok: Callable[[T], bool]) -> T:
    """Ask until the parts that do not hang are in time, too; each answer comes at the limit."""

    def ask_once() -> T | None:
        began = time.monotonic()
        answer = ask()
        assert time.monotonic() - began < PATIENCE
        return answer if are_others_ok(answer) else None

    answer = wait_until(ask_once, "the other parts to be in time")
    assert answer is not None
    return answer


def is_ok(status: Status, *names: str) -> bool:
    return all(check.ok for check in status.checks if check.name in names)


def test_the_readiness_of_a_database_that_hangs_is_known_in_time(
    api: Api, admin: psycopg.Connection
) -> None:
    wait_until(lambda: read_checks(api)["database"]["ok"], "the database to answer")
    with frozen_postgres(admin):
        checks = ask_in_time(lambda: read_checks(api), lambda each: each["redis"]["ok"])
    assert checks["database"]["detail"] == "The database does not answer."
    assert checks["stream"]["detail"] == "Unknown: the database cannot be read."
    wait_until(lambda: read_checks(api)["database"]["ok"], "the database to heal by itself")


def test_the_status_of_a_redis_and_a_broker_that_hang_is_known_in_time(
    pipeline: Pipeline, silent: Redis, black_hole: str
) -> None:
    url, amqp = f"redis://{black_hole}/0", f"amqp://guest:guest@{black_hole}//"
    # What needs the database alone is checked all the same.
    status = ask_in_time(
        lambda: survey(pipeline.engine, silent, url, amqp_url=amqp),
        lambda status: is_ok(status, "database", "inbox"),
    )
    checks = {check.name: check for check in status.checks}
    assert checks["redis"].detail == f"Redis cannot be used: {LATE}."
    assert checks["redis"].remedy == "Check REDIS_URL and the server."
    assert checks["broker"].detail.startswith("The broker cannot be used: ")
    assert checks["worker"].remedy == "See the check `redis`."
    assert not checks["stream"].ok
    assert not checks["outlet amqp"].ok
    assert (status.due, status.stream_position) == (0, None)


@pytest.mark.slow
def test_everything_may_hang_at_once(
    pipeline: Pipeline, admin: psycopg.Connection, silent: Redis, black_hole: str
) -> None:
    url = f"redis://{black_hole}/0"
    with frozen_postgres(admin):
        status = ask_in_time(lambda: survey(pipeline.engine, silent, url), lambda _: True)
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
