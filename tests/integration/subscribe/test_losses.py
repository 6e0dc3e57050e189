"""What a stream loses, a subscriber notices: each group still gets every event, in order."""

import asyncio
import threading
from itertools import islice
from typing import Any
from unittest.mock import patch

import psycopg
import pytest
from psycopg import sql
from redis import Redis

from publish_worker_client.events.data import VideoPublished
from publish_worker_client.subscribe import gaps, reader
from publish_worker_client.subscribe.connections import BlockingConnections
from publish_worker_client.subscribe.gaps import Gaps
from tests.support.client_logs import capture_client_logs
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
from worker.events import redis_stream
from worker.subscribe import AsyncDelivery, AsyncSubscriber, Gap, Subscriber
from worker.subscribe.dead_letters import read_letters

LEASE = "publish-worker:subscriber:search:lease"
MODES: list[dict[str, Any]] = [{}, {"partition": (0, 1)}]


def subscriber_of(urls: dict[str, Any], mode: dict[str, Any]) -> Subscriber:
    return Subscriber(**urls, **mode, group="search")


@pytest.mark.parametrize("mode", MODES)
def test_a_stream_trimmed_below_the_groups_position(
    pipeline: Pipeline, urls: dict[str, Any], mode: dict[str, Any]
) -> None:
    publish_videos(pipeline, 3)
    with subscriber_of(urls, mode) as subscriber, patience(subscriber):
        assert handled(subscriber, 3) == [1, 2, 3]
        publish_videos(pipeline, 5)
        pipeline.redis.xtrim("video.events", minid="7-0", approximate=False)
        got = [*islice(subscriber, 5)]
        assert [delivery.position for delivery in got] == [4, 5, 6, 7, 8]
        assert isinstance(got[0].event.data, VideoPublished)
        for delivery in got:
            delivery.ack()
    assert pipeline.redis.xlen("video.events:again:" + subscriber.group.name) == 0


@pytest.mark.parametrize("mode", MODES)
def test_a_hole_in_the_middle_of_what_is_read(
    pipeline: Pipeline, urls: dict[str, Any], mode: dict[str, Any]
) -> None:
    publish_videos(pipeline, 9)
    pipeline.redis.xdel("video.events", "3-0", "6-0", "7-0")
    with subscriber_of(urls, mode) as subscriber, patience(subscriber):
        assert handled(subscriber, 9) == list(range(1, 10))


@pytest.mark.parametrize("mode", MODES)
def test_events_trimmed_while_they_were_pending(
    pipeline: Pipeline, urls: dict[str, Any], mode: dict[str, Any]
) -> None:
    publish_videos(pipeline, 4)
    with subscriber_of(urls, mode) as subscriber:
        assert next(subscriber).position == 1
    pipeline.redis.xtrim("video.events", minid="4-0", approximate=False)
    with subscriber_of(urls, mode) as subscriber, patience(subscriber):
        assert sorted(handled(subscriber, 4)) == [1, 2, 3, 4]
    assert pipeline.redis.xpending("video.events", subscriber.group.name)["pending"] == 0


@pytest.mark.parametrize("mode", MODES)
def test_the_stream_is_rebuilt_and_the_group_is_gone_with_it(
    pipeline: Pipeline, urls: dict[str, Any], mode: dict[str, Any]
) -> None:
    publish_videos(pipeline, 4)
    with subscriber_of(urls, mode) as subscriber, patience(subscriber):
        assert handled(subscriber, 2) == [1, 2]
        assert next(subscriber).position == 3
    redis_stream.rebuild(pipeline.engine, pipeline.redis, BASE_URL)
    with subscriber_of(urls, mode) as subscriber, patience(subscriber):
        assert handled(subscriber, 2) == [3, 4]


def test_redis_is_emptied_under_a_subscriber_which_goes_on_where_it_was(
    pipeline: Pipeline, urls: dict[str, Any]
) -> None:
    publish_videos(pipeline, 5)
    with subscriber_of(urls, {}) as subscriber, patience(subscriber):
        assert handled(subscriber, 3) == [1, 2, 3]
        pipeline.redis.flushall()
        publish_videos(pipeline, 2)
        assert handled(subscriber, 4)[-4:] == [4, 5, 6, 7]


@pytest.mark.parametrize("mode", MODES)
def test_redis_is_emptied_between_two_subscribers_and_every_event_comes_again(
    pipeline: Pipeline, urls: dict[str, Any], mode: dict[str, Any]
) -> None:
    publish_videos(pipeline, 3)
    with subscriber_of(urls, mode) as subscriber:
        handled(subscriber, 3)
    pipeline.redis.flushall()
    publish_videos(pipeline, 1)
    with subscriber_of(urls, mode) as subscriber, patience(subscriber):
        assert handled(subscriber, 4) == [1, 2, 3, 4]


def test_a_group_that_a_person_set_to_the_end_is_set_back(
    pipeline: Pipeline, urls: dict[str, Any]
) -> None:
    publish_videos(pipeline, 3)
    with subscriber_of(urls, {}) as subscriber:
        handled(subscriber, 1)
    publish_videos(pipeline, 2)
    pipeline.redis.xgroup_setid("video.events", "search", "$")
    with subscriber_of(urls, {}) as subscriber, patience(subscriber):
        assert handled(subscriber, 4) == [2, 3, 4, 5]


def test_a_group_that_a_person_set_back_gets_its_events_again(redis: Redis, redis_url: str) -> None:
    add_events(redis, *"abc")
    with Subscriber(redis_url, group="search") as subscriber:
        handled(subscriber, 3)
    redis.xgroup_setid("video.events", "search", "1-0")
    with Subscriber(redis_url, group="search") as subscriber:
        assert handled(subscriber, 2) == [2, 3]


def test_a_new_group_begins_with_what_only_the_outbox_has(
    pipeline: Pipeline, urls: dict[str, Any]
) -> None:
    publish_videos(pipeline, 4)
    pipeline.redis.xtrim("video.events", minid="4-0", approximate=False)
    with subscriber_of(urls, {}) as subscriber, patience(subscriber):
        assert handled(subscriber, 4) == [1, 2, 3, 4]


def test_a_gap_that_the_outbox_has_pruned_too_is_raised(
    pipeline: Pipeline, urls: dict[str, Any]
) -> None:
    publish_videos(pipeline, 2)
    with subscriber_of(urls, {}) as subscriber, patience(subscriber):
        handled(subscriber, 2)
        publish_videos(pipeline, 4)
        pipeline.redis.xtrim("video.events", minid="6-0", approximate=False)
        pipeline.execute("DELETE FROM publisher.outbox_event WHERE position < 5")
        with pytest.raises(Gap) as caught:
            next(subscriber)
        assert (caught.value.first, caught.value.last) == (3, 4)
        subscriber.pass_over(caught.value)
        assert handled(subscriber, 2) == [5, 6]


def test_without_a_database_a_gap_is_raised(
    redis: Redis, redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gaps, "REPAIR_SECONDS", 0)
    add_events(redis, *"abc")
    redis.xdel("video.events", "2-0")
    with Subscriber(redis_url, group="search") as subscriber, patience(subscriber):
        assert handled(subscriber, 1) == [1]
        with pytest.raises(Gap) as caught:
            next(subscriber)
        assert (caught.value.first, caught.value.last) == (2, 2)
        subscriber.pass_over(caught.value)
        assert handled(subscriber, 1) == [3]


@pytest.mark.parametrize("entry_id", ["9-0", "9007199254740991-0"])
def test_without_a_database_a_foreign_entry_is_waited_for_until_the_relay_removes_it(
    pipeline: Pipeline, redis_url: str, entry_id: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    publish_videos(pipeline, 2)
    wait = getattr(Gaps, "_wait_for_repair")  # noqa: B009 - the moment in which a relay comes

    async def relay_and_wait(self: Gaps, first: int, last: int) -> None:
        redis_stream.relay(pipeline.engine, pipeline.redis, BASE_URL)
        await wait(self, first, last)

    monkeypatch.setattr(Gaps, "_wait_for_repair", relay_and_wait)
    with Subscriber(redis_url, group="search") as subscriber, patience(subscriber):
        assert handled(subscriber, 2) == [1, 2]
        pipeline.publish(pipeline.video())
        pipeline.redis.xadd("video.events", {"event": "forged"}, id=entry_id)
        assert handled(subscriber, 1) == [3]


def test_a_gap_of_more_than_one_batch_is_filled_in_order(
    pipeline: Pipeline, urls: dict[str, Any]
) -> None:
    publish_videos(pipeline, 123)
    pipeline.redis.xtrim("video.events", minid="121-0", approximate=False)
    with (
        patch.object(gaps, "BATCH", 50),
        patch.object(reader, "BATCH", 50),
        subscriber_of(urls, {}) as subscriber,
        patience(subscriber),
    ):
        assert handled(subscriber, 123) == list(range(1, 124))


def test_an_async_subscriber_does_the_same(pipeline: Pipeline, urls: dict[str, Any]) -> None:
    publish_videos(pipeline, 6)
    pipeline.redis.xdel("video.events", "3-0")

    async def subscribe() -> list[int]:
        got: list[int] = []
        options: dict[str, Any] = {"group": "search", "max_tries": 2, "retry_seconds": 0.001}
        async with AsyncSubscriber(**urls, **options) as subscriber:

            async def handle(delivery: AsyncDelivery) -> None:
                got.append(delivery.position)
                if len(got) == 7:
                    subscriber.stop()
                if got[-1] == 2:
                    raise ValueError("not this one")
                await asyncio.sleep(0)

            await subscriber.run(handle)
        return got

    assert sorted(asyncio.run(subscribe())) == [1, 2, 2, 3, 4, 5, 6]
    assert [letter.position for letter in read_letters(pipeline.redis, "search")] == [2]
    assert pipeline.redis.xpending("video.events", "search")["pending"] == 0


@pytest.mark.parametrize("mode", MODES)
def test_missing_events_at_the_end_of_the_stream_are_noticed(
    pipeline: Pipeline, urls: dict[str, Any], mode: dict[str, Any]
) -> None:
    publish_videos(pipeline, 4)
    with subscriber_of(urls, mode) as subscriber, patience(subscriber):
        assert handled(subscriber, 4) == [1, 2, 3, 4]
        publish_videos(pipeline, 3)
        pipeline.redis.xtrim("video.events", maxlen=0, approximate=False)
        assert handled(subscriber, 3) == [5, 6, 7]


def test_events_lost_after_the_consumers_place_do_not_come_first(
    pipeline: Pipeline, urls: dict[str, Any]
) -> None:
    """A consumer was killed right after a read: no mark yet, and then a part of it is deleted."""
    publish_videos(pipeline, 2)
    with subscriber_of(urls, {}) as subscriber:
        assert handled(subscriber, 2) == [1, 2]
    publish_videos(pipeline, 6)
    pipeline.redis.xreadgroup("search", "killed", {"video.events": ">"})
    pipeline.redis.xdel("video.events", "5-0", "7-0")
    with subscriber_of(urls, {}) as subscriber, patience(subscriber):
        assert handled(subscriber, 6) == [3, 4, 5, 6, 7, 8]
    assert pipeline.redis.xpending("video.events", "search")["pending"] == 0


def test_acknowledged_events_do_not_come_again_when_the_lease_runs_out(
    redis: Redis, redis_url: str
) -> None:
    add_events(redis, *"abc")
    with Subscriber(redis_url, group="search") as subscriber, patience(subscriber):
        deliveries = list(islice(subscriber, 2))
        redis.delete(LEASE)
        for delivery in deliveries:
            delivery.ack()
        add_events(redis, "d", first=4)
        assert handled(subscriber, 2) == [3, 4]
    assert redis.xpending("video.events", "search")["pending"] == 0


def test_a_consumer_that_lost_the_lease_does_not_set_the_next_one_back(
    redis: Redis, redis_url: str
) -> None:
    add_events(redis, *"abc")
    with Subscriber(redis_url, group="search") as first, patience(first):
        deliveries = list(islice(first, 3))
        redis.delete(LEASE)
        add_events(redis, *"de", first=4)
        with Subscriber(redis_url, group="search") as second, patience(second):
            assert handled(second, 5) == [1, 2, 3, 4, 5]
        for delivery in deliveries:
            delivery.ack()
        add_events(redis, "f", first=6)
        assert handled(first, 1) == [6]


def test_scripts_that_redis_has_dropped_are_sent_again(redis: Redis, redis_url: str) -> None:
    add_events(redis, *"abc")
    with Subscriber(redis_url, group="search") as subscriber, patience(subscriber):
        assert handled(subscriber, 3) == [1, 2, 3]
        redis.script_flush()
        add_events(redis, "d", first=4)
        assert handled(subscriber, 1) == [4]
    assert redis.xpending("video.events", "search")["pending"] == 0


@pytest.fixture
def database(pipeline: Pipeline) -> sql.Identifier:
    """The name of this test's database, to which no connection is open."""
    name = pipeline.engine.url.database
    assert name is not None
    pipeline.engine.dispose()
    return sql.Identifier(name)


def allow_connections(admin: psycopg.Connection, database: sql.Identifier, allowed: bool) -> None:
    """Let PostgreSQL accept connections; or refuse them, and end the open ones."""
    change = sql.SQL("ALTER DATABASE {} ALLOW_CONNECTIONS {}")
    admin.execute(change.format(database, sql.Literal(allowed)))
    if not allowed:  # else it would end what connects from now on
        admin.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s",
            [database.as_string().strip('"')],
        )


def test_an_unreachable_database_is_waited_for_and_logged_once(
    pipeline: Pipeline, urls: dict[str, Any], admin: psycopg.Connection, database: sql.Identifier
) -> None:
    publish_videos(pipeline, 3)
    allow_connections(admin, database, allowed=False)
    with subscriber_of(urls, {}) as subscriber, patience(subscriber), capture_client_logs() as logs:
        got: list[int] = []
        reading = threading.Thread(target=lambda: got.extend(handled(subscriber, 3)))
        reading.start()
        wait_for_outage(logs)
        allow_connections(admin, database, allowed=True)
        reading.join()
    assert got == [1, 2, 3]
    assert_one_outage_of_the_database(logs)


def assert_one_outage_of_the_database(logs: list[dict[str, Any]]) -> None:
    """It is logged once, and so is its end; a busy machine may have others, of Redis."""
    first, *_, last = outage_lines(logs)
    causes = [line["error"] for line in logs if "not currently accepting" in line.get("error", "")]
    assert causes == [first["error"]]
    assert last["event"] == "subscriber.reachable"


def count_scripts(pipeline: Pipeline) -> int:
    """Return how many scripts Redis has run."""
    statistics: Any = pipeline.redis.info("commandstats")
    return statistics["cmdstat_evalsha"]["calls"]


def test_an_acknowledgement_during_an_outage_of_the_database_does_not_end_it(
    pipeline: Pipeline, urls: dict[str, Any], admin: psycopg.Connection, database: sql.Identifier
) -> None:
    publish_videos(pipeline, 3)
    options = {"lease_seconds": 0.3}
    with (
        subscriber_of(urls, options) as subscriber,
        patience(subscriber),
        capture_client_logs() as logs,
    ):
        handled_meanwhile = list(islice(subscriber, 3))

        async def pause(_connections: BlockingConnections, _seconds: float) -> None:
            if handled_meanwhile:
                handled_meanwhile.pop().ack()
                enough = count_scripts(pipeline) + 2
                wait_until(lambda: count_scripts(pipeline) >= enough, "renewals of the lease")
            else:
                allow_connections(admin, database, allowed=True)

        add_events(pipeline.redis, "d", first=4)
        pipeline.redis.delete(LEASE)
        allow_connections(admin, database, allowed=False)
        with (
            patch.object(BlockingConnections, "pause", pause),
            patch("publish_worker_client.subscribe.subscriber.FLUSH_SECONDS", 0),
        ):
            assert next(subscriber).position == 4
    assert_one_outage_of_the_database(logs)
