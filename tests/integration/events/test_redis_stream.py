"""The relay: every event on the stream once, in order, with its position as the ID."""

import threading
from collections.abc import Callable
from datetime import timedelta
from unittest.mock import patch

import pytest
from redis import Redis

from db.events import outbox
from db.session import transaction
from tests.support.pipeline import BASE_URL, Desk, ids, stream
from worker.events import outlets, redis_stream
from worker.events.redis_stream import STREAM, StreamAhead, StreamGap, StreamOutlet
from worker.operations import retention
from worker.runtime.settings import Settings


@pytest.fixture
def told(desk: Desk) -> Desk:
    """Thirty events in the outbox, none on the stream yet."""
    desk.publish(*(desk.video() for _ in range(30)))
    return desk


def relayed(desk: Desk) -> int:
    return redis_stream.relay(desk.engine, desk.redis, BASE_URL)


def expected(first: int, last: int) -> list[str]:
    return [f"{position}-0" for position in range(first, last + 1)]


def test_positions_become_the_streams_ids(told: Desk) -> None:
    assert relayed(told) == 30
    assert ids(told.redis) == expected(1, 30)
    assert [event["sequence"] for event in stream(told.redis)] == [str(n) for n in range(1, 31)]


def test_relaying_again_adds_nothing(told: Desk) -> None:
    relayed(told)
    assert relayed(told) == 0
    assert ids(told.redis) == expected(1, 30)


def test_a_relay_that_died_half_way_is_taken_up_where_it_stopped(told: Desk) -> None:
    with patch.object(redis_stream, "BATCH", 7):
        append_one_batch(told)
    assert ids(told.redis) == expected(1, 7)
    relayed(told)
    assert ids(told.redis) == expected(1, 30)


def test_many_relays_at_once_neither_double_nor_reorder(told: Desk, redis_url: str) -> None:
    with patch.object(redis_stream, "BATCH", 3):
        clients = [Redis.from_url(redis_url) for _ in range(6)]
        threads = [
            threading.Thread(target=redis_stream.relay, args=(told.engine, client, BASE_URL))
            for client in clients
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        for client in clients:
            client.close()
    assert ids(told.redis) == expected(1, 30)


def test_a_lost_stream_is_rebuilt_by_the_next_relay_with_the_same_ids(told: Desk) -> None:
    before = told.events()
    told.redis.flushall()
    relayed(told)
    assert stream(told.redis) == before
    assert ids(told.redis) == expected(1, 30)


def test_a_damaged_stream_is_rebuilt_on_demand(told: Desk) -> None:
    before = told.events()
    told.redis.xdel(STREAM, "5-0", "30-0")
    assert redis_stream.rebuild(told.engine, told.redis, BASE_URL) == 30
    assert stream(told.redis) == before


def test_a_stream_lost_between_reading_and_appending_leaves_no_gap(told: Desk) -> None:
    """The relay has read what follows position 7, and then the stream is gone."""
    with patch.object(redis_stream, "BATCH", 7):
        append_one_batch(told)
    read = outbox.after

    def flush_then_read(*arguments: object) -> object:
        events = read(*arguments)  # pyright: ignore[reportArgumentType]
        flush.pop()() if flush else None
        return events

    flush: list[Callable[[], object]] = [told.redis.flushall]
    with patch.object(outbox, "after", flush_then_read):
        relayed(told)
    assert ids(told.redis) == expected(1, 30)


def test_a_stream_that_knows_more_than_the_outbox_is_noticed(told: Desk) -> None:
    relayed(told)
    told.redis.xadd(STREAM, {"event": "{}"}, id="99-0")
    with pytest.raises(StreamAhead):
        redis_stream.check(told.engine, told.redis)


def test_a_database_restored_to_an_earlier_point_is_noticed_even_when_it_has_caught_up(
    told: Desk,
) -> None:
    """Positions are given out again, to other events: none of them may go missing in silence."""
    relayed(told)
    told.execute("DELETE FROM publisher.outbox_event WHERE position > 27")
    told.execute("UPDATE publisher.event_position SET position = 27")
    told.publish(*(told.video() for _ in range(5)))
    with pytest.raises(StreamAhead):
        redis_stream.check(told.engine, told.redis)
    with pytest.raises(StreamAhead):
        relayed(told)
    redis_stream.rebuild(told.engine, told.redis, BASE_URL)
    redis_stream.check(told.engine, told.redis)
    assert ids(told.redis) == expected(1, 32)


def test_a_stream_that_does_not_fit_does_not_keep_anybody_from_publishing(told: Desk) -> None:
    told.redis.xadd(STREAM, {"event": "{}"}, id="99-0")
    video = told.video()
    told.accept(video)
    outlets.relay_or_later([StreamOutlet(told.engine, told.redis, BASE_URL)])
    told.run()
    assert told.value("SELECT is_draft FROM video WHERE id = %s", video) is False


def test_a_gap_is_refused_rather_than_passed_over(told: Desk) -> None:
    """An old copy of Redis that ends before the oldest event that the outbox still has."""
    told.redis.xadd(STREAM, {"event": "{}"}, id="3-0")
    told.execute("DELETE FROM publisher.outbox_event WHERE position < 10")
    with pytest.raises(StreamGap):
        redis_stream.check(told.engine, told.redis)
    with pytest.raises(StreamGap):
        relayed(told)
    assert ids(told.redis) == ["3-0"]


def test_no_transaction_is_open_while_redis_is_talked_to(told: Desk) -> None:
    look = redis_stream.tip

    def check_idle(redis: Redis) -> redis_stream.Tip:
        assert told.engine.pool.checkedout() == 0  # pyright: ignore[reportAttributeAccessIssue]
        return look(redis)

    with patch.object(redis_stream, "tip", check_idle):
        relayed(told)


def test_pruning_never_takes_an_event_that_is_not_on_the_stream(told: Desk) -> None:
    age_events(told, days=60)
    retention.prune(told.engine, told.redis, Settings())
    assert told.value("SELECT count(*) FROM publisher.outbox_event") == 30


def test_pruning_takes_old_events_that_are_on_the_stream(told: Desk) -> None:
    relayed(told)
    age_events(told, days=60, up_to=20)
    pruned = retention.prune(told.engine, told.redis, Settings())
    assert (pruned.outbox, pruned.stream) == (20, 20)
    assert ids(told.redis) == expected(21, 30)


def test_the_stream_loses_nothing_that_is_not_yet_old(told: Desk) -> None:
    relayed(told)
    age_events(told, days=8, up_to=4)
    assert retention.trim(told.engine, told.redis, timedelta(days=7)) == 4
    assert ids(told.redis) == expected(5, 30)


def test_pruning_leaves_no_hole_where_times_are_not_in_the_order_of_positions(told: Desk) -> None:
    relayed(told)
    age_events(told, days=60, up_to=20)
    told.execute("UPDATE publisher.outbox_event SET occurred_at = now() WHERE position = 7")
    pruned = retention.prune(told.engine, told.redis, Settings())
    assert (pruned.outbox, pruned.stream) == (6, 6)
    told.redis.flushall()
    relayed(told)
    assert ids(told.redis) == expected(7, 30)


def test_pruning_takes_nothing_on_the_word_of_a_stream_that_is_not_ours(told: Desk) -> None:
    told.redis.xadd(STREAM, {"event": "{}"}, id="99-0")
    age_events(told, days=60)
    assert retention.prune(told.engine, told.redis, Settings()).outbox == 0


def test_a_stream_trimmed_to_nothing_still_knows_its_position(told: Desk) -> None:
    relayed(told)
    age_events(told, days=60)
    retention.prune(told.engine, told.redis, Settings())
    assert redis_stream.tip(told.redis).position == 30
    told.publish(told.video())
    relayed(told)
    assert ids(told.redis) == ["31-0"]


def test_a_stream_lost_after_pruning_begins_with_the_oldest_event_kept(told: Desk) -> None:
    relayed(told)
    age_events(told, days=60, up_to=20)
    retention.prune(told.engine, told.redis, Settings())
    told.redis.flushall()
    relayed(told)
    assert ids(told.redis) == expected(21, 30)


def test_old_commands_and_keys_are_forgotten(told: Desk) -> None:
    told.execute("UPDATE publisher.publish_command SET finished_at = now() - interval '31 days'")
    waiting = told.accept(told.video(), idempotency_scope="s", idempotency_key="k")
    told.execute("UPDATE publisher.idempotency_key SET created_at = now() - interval '31 days'")
    pruned = retention.prune(told.engine, told.redis, Settings())
    assert (pruned.commands, pruned.idempotency_keys) == (30, 1)
    assert told.command(waiting.commands[0].id).state == "scheduled"


def append_one_batch(desk: Desk) -> None:
    """What a relay does before it is killed."""
    with transaction(desk.engine) as tx:
        events = outbox.after(tx, 0, redis_stream.BATCH)
    arguments = [
        part for e in events for part in (e.position, redis_stream.cloud_event(e, BASE_URL))
    ]
    desk.redis.register_script(redis_stream.APPEND)(keys=[STREAM], args=[0, *arguments])


def age_events(desk: Desk, *, days: int, up_to: int = 10**9) -> None:
    desk.execute(
        "UPDATE publisher.outbox_event SET occurred_at = occurred_at - make_interval(days => %s)"
        " WHERE position <= %s",
        days,
        up_to,
    )
