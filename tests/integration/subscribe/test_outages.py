"""A server that answers with an error that passes, or not at all, ends no subscriber."""

import asyncio
import threading
from collections.abc import Callable, Generator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from typing import Any
from unittest.mock import patch

import psycopg
import pytest
from psycopg import errors
from redis import Redis
from redis.exceptions import ReadOnlyError

from publish_worker_client.subscribe.connections import may_pass
from tests.support.client_logs import capture_client_logs
from tests.support.frozen import frozen_postgres, frozen_redis
from tests.support.pipeline import BASE_URL, Pipeline
from tests.support.subscribing import (
    add_events,
    handled,
    outage_lines,
    patience,
    publish_videos,
    wait_for_outage,
)
from tests.support.waiting import wait_until
from worker.subscribe import AsyncSubscriber, Gap, Subscriber
from worker.subscribe.dead_letters import read_letters

LEASE = "publish-worker:subscriber:search:lease"
GROUP: dict[str, Any] = {"group": "search", "lease_seconds": 0.3}
ONE_USER = "search-service"


@pytest.fixture
def user_url(redis: Redis, redis_url: str) -> Generator[str]:
    """The URL of a user of the subscriber's own, whose password and rights may change."""
    redis.acl_setuser(ONE_USER, enabled=True, passwords=["+first"], keys=["*"], commands=["+@all"])
    yield f"redis://{ONE_USER}:first@{redis_url.partition('@')[2]}"
    redis.acl_deluser(ONE_USER)


@dataclass
class Reading:
    """A subscriber of either kind that acknowledges what it gets, in a thread of its own."""

    kind: type[Subscriber] | type[AsyncSubscriber]
    options: dict[str, Any]
    got: list[int] = field(default_factory=list[int])
    error: BaseException | None = None
    subscriber: Any = None
    loop: asyncio.AbstractEventLoop | None = None
    task: asyncio.Task[Any] | None = None

    def __post_init__(self) -> None:
        self.thread = threading.Thread(target=self._run)
        self.thread.start()

    def _run(self) -> None:
        try:
            if self.kind is Subscriber:
                self._read()
            else:
                asyncio.run(self._read_async())
        except BaseException as error:  # noqa: BLE001 - for the test
            self.error = error

    def _read(self) -> None:
        with Subscriber(**self.options) as self.subscriber:
            for delivery in self.subscriber:
                self.got.append(delivery.position)
                delivery.ack()

    async def _read_async(self) -> None:
        self.loop, self.task = asyncio.get_running_loop(), asyncio.current_task()
        async with AsyncSubscriber(**self.options) as self.subscriber:
            async for delivery in self.subscriber:
                self.got.append(delivery.position)
                await delivery.ack()

    def interrupt(self) -> None:
        """Cancel, as Ctrl-C does; a subscriber of threads can only be stopped."""
        if self.loop and self.task:
            self.loop.call_soon_threadsafe(self.task.cancel)
        else:
            self.subscriber.stop()

    def wait_for(self, *positions: int) -> None:
        wait_until(lambda: self.got == [*positions] or self.error, f"{positions}")
        assert self.error is None

    def wait_for_end(self) -> None:
        wait_until(lambda: not self.thread.is_alive(), "the end of the subscriber")


@pytest.fixture(params=[Subscriber, AsyncSubscriber])
def read(request: pytest.FixtureRequest) -> Generator[Callable[..., Reading]]:
    """Begins to read with a subscriber of either kind; none outlives the test."""
    started: list[Reading] = []

    def begin(**options: Any) -> Reading:
        started.append(Reading(request.param, {**GROUP, **options}))
        return started[-1]

    yield begin
    for reading in started:
        wait_until(lambda one=reading: one.subscriber or one.error, "the beginning")
        if reading.subscriber:
            reading.subscriber.stop()
        reading.thread.join()


@contextmanager
def replica(redis: Redis) -> Generator[None]:
    """READONLY, and UNBLOCKED for a read that waits: the primary is demoted."""
    redis.replicaof("127.0.0.1", 1)
    try:
        yield
    finally:
        redis.replicaof("NO", "ONE")


@contextmanager
def configured(redis: Redis, name: str, value: str, usual: str) -> Generator[None]:
    redis.config_set(name, value)
    try:
        yield
    finally:
        redis.config_set(name, usual)


@contextmanager
def without_right(redis: Redis) -> Generator[None]:
    redis.execute_command("ACL", "SETUSER", ONE_USER, "-evalsha")
    yield
    redis.execute_command("ACL", "SETUSER", ONE_USER, "+@all")


@contextmanager
def other_password(redis: Redis) -> Generator[None]:
    redis.execute_command("ACL", "SETUSER", ONE_USER, "resetpass", ">second")
    redis.execute_command("CLIENT", "KILL", "USER", ONE_USER)
    yield
    redis.execute_command("ACL", "SETUSER", ONE_USER, "resetpass", ">first")


State = Callable[[Redis], AbstractContextManager[None]]
STATES: dict[str, State] = {
    "READONLY": replica,
    "OOM": lambda redis: configured(redis, "maxmemory", "1", "0"),
    "NOREPLICAS": lambda redis: configured(redis, "min-replicas-to-write", "1", "0"),
    "NOPERM": without_right,
    "WRONGPASS": other_password,
}


@pytest.mark.parametrize("state", STATES.values(), ids=STATES)
def test_a_subscriber_waits_while_redis_answers_with_an_error_that_passes(
    redis: Redis, user_url: str, read: Callable[..., Reading], state: State
) -> None:
    add_events(redis, "a", "b")
    with capture_client_logs() as logs:
        reading = read(redis_url=user_url)
        reading.wait_for(1, 2)
        redis.set("clock", "", px=500)
        with state(redis):
            wait_for_outage(logs)
            wait_until(lambda: not redis.exists("clock"), "some renewals of the lease")
        add_events(redis, "c", first=3)
        reading.wait_for(1, 2, 3)
        reading.subscriber.stop()
        reading.wait_for_end()
    assert reading.error is None
    assert not redis.exists(LEASE), "it has left the group"
    causes = [line["error"] for line in outage_lines(logs) if "error" in line]
    assert len(causes) == len(set(causes)), "once for each cause"
    assert outage_lines(logs)[-1]["event"] == "subscriber.reachable"


def clients(redis: Redis) -> list[dict[str, Any]]:
    answer: Any = redis.client_list()
    return answer


def test_a_demoted_primary_is_left_for_the_new_one(redis: Redis, redis_url: str) -> None:
    add_events(redis, "a")
    with Subscriber(redis_url, **GROUP) as subscriber, patience(subscriber):
        assert handled(subscriber, 1) == [1]
        before = {each["id"] for each in clients(redis)}
        with replica(redis), pytest.raises(ReadOnlyError):
            subscriber.pass_over(Gap(2, 2, "it is lost"))
        add_events(redis, "b", first=2)
        assert handled(subscriber, 1) == [2]
        assert {each["id"] for each in clients(redis)} - before, "another connection"


def test_a_dead_letter_is_not_lost_while_redis_has_no_memory(redis: Redis, redis_url: str) -> None:
    add_events(redis, "a")
    with Subscriber(redis_url, **GROUP, max_tries=1) as subscriber, patience(subscriber):
        delivery = next(subscriber)
        with configured(redis, "maxmemory", "1", "0"):
            delivery.fail("broken")
        while not list(read_letters(redis, "search")):
            next(subscriber).fail("broken")
    assert [letter.position for letter in read_letters(redis, "search")] == [1]


def test_a_session_that_the_database_has_ended_passes() -> None:
    ended = (
        errors.IdleInTransactionSessionTimeout,
        errors.IdleSessionTimeout,
        errors.AdminShutdown,
        errors.QueryCanceled,
        errors.ReadOnlySqlTransaction,
        psycopg.OperationalError,
    )
    assert all(may_pass(error()) for error in ended)
    assert not may_pass(errors.DivisionByZero())


@pytest.fixture
def gap(pipeline: Pipeline, redis_url: str, database_url: str) -> dict[str, Any]:
    """Three events are on the stream; a fourth will be missing there."""
    publish_videos(pipeline, 3)
    return {"redis_url": redis_url, "database_url": database_url, "public_base_url": BASE_URL}


def test_a_database_that_does_not_answer_is_logged_and_waited_for(
    pipeline: Pipeline,
    gap: dict[str, Any],
    admin: psycopg.Connection,
    read: Callable[..., Reading],
) -> None:
    pipeline.publish(pipeline.video())  # not relayed
    with (
        patch("publish_worker_client.subscribe.outbox.ANSWER_SECONDS", 0.3),
        capture_client_logs() as logs,
    ):
        reading = read(**gap)
        reading.wait_for(1, 2, 3)
        with frozen_postgres(admin):
            hide_fourth_event(pipeline.redis)
            wait_until(
                lambda: any("has not answered" in line.get("error", "") for line in logs),
                "the outage to be logged",
            )
        reading.wait_for(1, 2, 3, 4)


def hide_fourth_event(redis: Redis) -> None:
    """Let the stream have had a fourth event, which is gone."""
    redis.execute_command("XSETID", "video.events", "4-0")


@pytest.mark.parametrize("end", ["stop", "interrupt"])
def test_a_subscriber_ends_while_the_database_does_not_answer(
    pipeline: Pipeline,
    gap: dict[str, Any],
    admin: psycopg.Connection,
    read: Callable[..., Reading],
    end: str,
) -> None:
    with patch("publish_worker_client.subscribe.outbox.ANSWER_SECONDS", 600):
        reading = read(**gap)
        reading.wait_for(1, 2, 3)
        with frozen_postgres(admin):
            hide_fourth_event(pipeline.redis)
            wait_until(_is_asking, "the question to the outbox")
            reading.subscriber.stop() if end == "stop" else reading.interrupt()
            reading.wait_for_end()
    assert not pipeline.redis.exists(LEASE), "it has left the group"


def _is_asking() -> bool:
    return any(thread.name == "subscriber-outbox" for thread in threading.enumerate())


@pytest.mark.usefixtures("limits")
def test_a_subscriber_ends_while_redis_does_not_answer(
    redis: Redis, redis_url: str, read: Callable[..., Reading]
) -> None:
    add_events(redis, "a")
    with capture_client_logs() as logs:
        reading = read(redis_url=redis_url)
        reading.wait_for(1)
        with frozen_redis(redis):
            wait_for_outage(logs)
            reading.subscriber.stop()
            reading.wait_for_end()
    assert reading.error is None
    assert {line["event"] for line in outage_lines(logs)} == {"subscriber.unreachable"}
    assert "subscriber.leave_skipped" in [line["event"] for line in logs]
