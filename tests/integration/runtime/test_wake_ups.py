"""Wake-ups on a Redis that is the broker, too: one at a time, ahead of what waits."""

from dataclasses import replace

import pytest
from redis import Redis

from tests.support.pipeline import Pipeline
from worker.app.messages import is_stale, rewrite_envelope
from worker.runtime.producer import TRANSPORT_OPTIONS
from worker.runtime.runtime import Runtime
from worker.runtime.settings import Settings
from worker.runtime.wake_ups import DELIVER, FAN_OUT, PUBLISH, Waker

QUEUE = f"{TRANSPORT_OPTIONS['global_keyprefix']}{PUBLISH.queue}"
WEBHOOKS = f"{TRANSPORT_OPTIONS['global_keyprefix']}{FAN_OUT.queue}"


@pytest.fixture
def waker(pipeline: Pipeline) -> Waker:
    return replace(pipeline.waker, is_broker=True)


def waiting(redis: Redis) -> list[bytes]:
    """The messages of the queue, in the order in which workers take them."""
    found: list[bytes] = redis.lrange(QUEUE, 0, -1)  # pyright: ignore[reportAssignmentType]
    return found[::-1]


def test_a_wake_up_is_taken_before_the_messages_that_wait(redis: Redis, waker: Waker) -> None:
    redis.lpush(QUEUE, "first", "second")
    waker.wake()
    wake_up, *others = waiting(redis)
    assert PUBLISH.task.encode() in wake_up
    assert others == [b"first", b"second"]


def test_wake_ups_of_webhooks_are_taken_in_turn(redis: Redis, waker: Waker) -> None:
    waker.wake(FAN_OUT)
    waker.wake(DELIVER)
    entries: list[bytes] = redis.lrange(WEBHOOKS, 0, -1)  # pyright: ignore[reportAssignmentType]
    assert [FAN_OUT.task in str(each) for each in entries[::-1]] == [True, False]


def test_there_is_one_until_it_has_arrived(redis: Redis, waker: Waker) -> None:
    waker.wake()
    waker.wake()
    assert len(waiting(redis)) == 1
    waker.note_arrival()
    waker.wake()
    assert len(waiting(redis)) == 2


def test_it_is_a_message_that_a_worker_reads_and_that_expires(redis: Redis, waker: Waker) -> None:
    waker.wake()
    [entry] = waiting(redis)
    assert not is_stale(entry)
    assert is_stale(entry.replace(b'"expires": "20', b'"expires": "19'))
    assert PUBLISH.task.encode() in rewrite_envelope(entry, PUBLISH.queue)


@pytest.mark.parametrize(
    ("broker_url", "expected"),
    [(None, True), ("redis://localhost/0", True), ("redis://localhost/1", False)],
)
def test_another_broker_gets_them_from_celery(
    database_url: str, broker_url: str | None, *, expected: bool
) -> None:
    settings = Settings(
        database_url=database_url, redis_url="redis://localhost/0", broker_url=broker_url
    )
    with Runtime.open(settings) as runtime:
        assert runtime.waker.is_broker == expected
