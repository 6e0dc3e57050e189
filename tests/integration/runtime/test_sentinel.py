"""Redis Sentinel: stream, broker and subscribers find the primary, also after a failover."""

from collections.abc import Callable, Generator
from contextlib import suppress
from functools import partial
from pathlib import Path

import pytest
from redis.exceptions import RedisError

from publish_worker_client.run_blocking import run_blocking
from publish_worker_client.subscribe.connections import BlockingConnections
from tests.support.sentinel import Failover, temporary_failover
from tests.support.waiting import PATIENCE, wait_until
from worker.runtime.broker_url import read_broker_url
from worker.runtime.producer import TRANSPORT_OPTIONS
from worker.runtime.redis_clients import Silence, open_hint_redis, open_redis


@pytest.fixture
def failover(tmp_path: Path) -> Generator[Failover]:
    with temporary_failover(tmp_path) as started:
        yield started


def is_passed_on(broker_url: str) -> bool:
    """Whether the broker takes a message, and gives it back."""
    broker = read_broker_url(broker_url).connect(TRANSPORT_OPTIONS)
    with broker, broker.SimpleQueue("publish") as queue:
        queue.put("message")
        return queue.get(timeout=PATIENCE).payload == "message"


def not_refused(command: Callable[[], object]) -> object:
    """The answer of Redis; None while it cannot be used."""
    with suppress(RedisError):
        return command()
    return None


def test_stream_broker_and_subscriber_follow_the_primary(failover: Failover) -> None:
    redis = open_redis(failover.url)
    subscriber = BlockingConnections(failover.url, None)
    assert redis.xadd("video.events", {"event": "1"})
    assert is_passed_on(failover.url)
    wait_until(lambda: failover.is_replicated("video.events"), "the entry on the replica")
    failover.lose_primary(Failover.kill_primary)
    add = partial(redis.xadd, "video.events", {"event": "2"})
    wait_until(lambda: not_refused(add), "the new primary to be used")
    assert run_blocking(subscriber.send([("XLEN", "video.events")])) == [2]
    assert is_passed_on(failover.url)
    run_blocking(subscriber.close())
    redis.close()


@pytest.mark.usefixtures("limits")
def test_the_clients_of_a_process_leave_a_frozen_primary_together(failover: Failover) -> None:
    silence = Silence(failover.url)
    hints, work = open_hint_redis(failover.url, silence), open_redis(failover.url, silence)
    assert hints.ping()
    assert work.ping()
    failover.lose_primary(Failover.freeze_primary)
    ask = lambda: hints.set("key", "hint")  # noqa: E731
    wait_until(lambda: not_refused(ask), "the new primary to be used")
    assert work.set("key", "value"), "it asks the frozen one, and waits for its answer"
    assert failover.is_replicated("key")
    hints.close()
    work.close()


@pytest.mark.usefixtures("limits")
def test_a_subscriber_leaves_a_frozen_primary(failover: Failover) -> None:
    subscriber = BlockingConnections(failover.url, None)
    assert run_blocking(subscriber.send([("PING",)]))
    failover.lose_primary(Failover.freeze_primary)
    ask = lambda: run_blocking(subscriber.send([("SET", "key", "value")]))  # noqa: E731
    wait_until(lambda: not_refused(ask), "the new primary to be used")
    assert failover.is_replicated("key")
    run_blocking(subscriber.close())
