"""A Redis user with the rights of docs/operations.md, and no others, serves every part."""

import re
from pathlib import Path

import pytest
from redis.exceptions import NoPermissionError
from sqlalchemy import Engine

from tests.support.pipeline import Pipeline
from tests.support.valkey import Valkey
from tests.support.waiting import PATIENCE
from worker.operations.health import Heartbeat, examine
from worker.runtime.broker_url import read_broker_url
from worker.runtime.producer import TRANSPORT_OPTIONS
from worker.runtime.redis_clients import open_hint_redis, open_redis
from worker.runtime.wake_ups import PUBLISH, Waker
from worker.subscribe import Subscriber

PAGE = Path(__file__).parents[3] / "docs" / "operations.md"


@pytest.fixture
def restricted_url(valkey: Valkey) -> str:
    """Valkey with the page's user."""
    [line] = re.findall(r"^(ACL SETUSER publish-worker .*)$", PAGE.read_text(), re.MULTILINE)
    valkey.client.execute_command(*line.split())
    return valkey.url.replace("redis://", "redis://publish-worker:PASSWORD@")


def test_the_user_serves_stream_broker_subscribers_and_health(
    platform: Engine, database_url: str, restricted_url: str
) -> None:
    redis = open_redis(restricted_url)
    pipeline = Pipeline(engine=platform, redis=redis)
    pipeline.publish(pipeline.video())
    assert len(pipeline.events()) == 1
    with Subscriber(restricted_url, group="search", database_url=database_url) as subscriber:
        delivery = next(subscriber)
        delivery.ack()
    broker = read_broker_url(restricted_url).connect(TRANSPORT_OPTIONS)
    with broker, broker.SimpleQueue("publish") as queue:
        queue.put("message")
        queue.get(timeout=PATIENCE).ack()
    sent: list[object] = []
    waker = Waker(redis=open_hint_redis(restricted_url), send=sent.append)
    waker.note_arrival(PUBLISH)
    waker.wake()
    assert sent == [PUBLISH]
    Heartbeat(waker).leave()
    waker.redis.close()
    checks = {each.name: each for each in examine(platform, redis, restricted_url)}
    assert all(checks[name].ok for name in ("redis", "broker", "worker", "stream")), checks
    redis.close()


@pytest.mark.parametrize("command", ["FLUSHALL", "CONFIG GET *", "KEYS *", "GET other", "ACL LIST"])
def test_the_user_may_do_nothing_else(restricted_url: str, command: str) -> None:
    redis = open_redis(restricted_url)
    with redis, pytest.raises(NoPermissionError):
        redis.execute_command(*command.split())
