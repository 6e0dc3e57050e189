"""The relay: every event on the stream once, in order, with its position as the ID."""

import json
import threading
from collections.abc import Callable, Generator
from contextlib import contextmanager
from datetime import timedelta
from types import SimpleNamespace
from typing import Any
from unittest.mock import patch

import pytest
from redis import Redis
from redis.exceptions import TimeoutError as RedisTimeoutError
from sqlalchemy import Engine
from structlog.testing import capture_logs

from db.events import outlet
from db.session import transaction
from publish_worker_client.events.cloud_event import to_cloud_event
from publish_worker_client.events.outbox import read_after
from publish_worker_client.events.stream_entries import STREAM
from tests.support.frozen import frozen_redis
from tests.support.pipeline import BASE_URL, Pipeline, ids, stream
from tests.support.subscribing import add_events, document, handled, patience
from tests.support.threads import together
from tests.support.waiting import wait_until
from worker.events import outlets, redis_stream
from worker.events.foreign_entries import RELAYED
from worker.events.outlet import OutletUnreachable
from worker.events.redis_stream import StreamAhead, StreamGap, StreamOutlet
from worker.operations import retention
from worker.runtime import redis_clients
from worker.runtime.redis_clients import Silence, open_hint_redis, open_redis
from worker.runtime.redis_streams import parse_entries
from worker.runtime.settings import Settings
from worker.subscribe import Subscriber


@pytest.fixture
def outboxed(pipeline: Pipeline) -> Pipeline:
    """Thirty events in the outbox, none on the stream yet."""
    pipeline.publish(*(pipeline.video() for _ in range(30)))
    return pipeline


def relay(pipeline: Pipeline) -> int:
    return redis_stream.relay(pipeline.engine, pipeline.redis, BASE_URL)


def expected(first: int, last: int) -> list[str]:
    return [f"{position}-0" for position in range(first, last + 1)]


def test_positions_become_the_streams_ids(outboxed: Pipeline) -> None:
    assert relay(outboxed) == 30
    assert ids(outboxed.redis) == expected(1, 30)
    assert [event["sequence"] for event in stream(outboxed.redis)] == [str(n) for n in range(1, 31)]


def test_relaying_again_adds_nothing(outboxed: Pipeline) -> None:
    relay(outboxed)
    assert relay(outboxed) == 0
    assert ids(outboxed.redis) == expected(1, 30)


def test_a_relay_continues_where_another_one_died(outboxed: Pipeline) -> None:
    with patch.object(redis_stream, "BATCH", 7):
        append_one_batch(outboxed)
    assert ids(outboxed.redis) == expected(1, 7)
    relay(outboxed)
    assert ids(outboxed.redis) == expected(1, 30)


def test_concurrent_relays_neither_duplicate_nor_reorder(
    outboxed: Pipeline, redis_url: str
) -> None:
    with patch.object(redis_stream, "BATCH", 3):
        clients = [Redis.from_url(redis_url) for _ in range(6)]
        threads = [
            threading.Thread(target=redis_stream.relay, args=(outboxed.engine, client, BASE_URL))
            for client in clients
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        for client in clients:
            client.close()
    assert ids(outboxed.redis) == expected(1, 30)


def test_a_lost_stream_is_rebuilt_by_the_next_relay_with_the_same_ids(outboxed: Pipeline) -> None:
    before = outboxed.events()
    outboxed.redis.flushall()
    relay(outboxed)
    assert stream(outboxed.redis) == before
    assert ids(outboxed.redis) == expected(1, 30)


def test_a_damaged_stream_is_rebuilt_on_demand(outboxed: Pipeline) -> None:
    before = outboxed.events()
    outboxed.redis.xdel(STREAM, "5-0", "30-0")
    assert redis_stream.rebuild(outboxed.engine, outboxed.redis, BASE_URL) == 30
    assert stream(outboxed.redis) == before


def test_a_stream_lost_between_reading_and_appending_leaves_no_gap(outboxed: Pipeline) -> None:
    """The relay has read what follows position 7, and then the stream is gone."""
    with patch.object(redis_stream, "BATCH", 7):
        append_one_batch(outboxed)
    read = read_after

    def flush_then_read(*arguments: object) -> object:
        events = read(*arguments)  # pyright: ignore[reportArgumentType]
        flush.pop()() if flush else None
        return events

    flush: list[Callable[[], object]] = [outboxed.redis.flushall]
    with patch.object(redis_stream, "read_after", flush_then_read):
        relay(outboxed)
    assert ids(outboxed.redis) == expected(1, 30)


def test_a_stream_with_events_that_the_outbox_lacks_is_refused(outboxed: Pipeline) -> None:
    relay(outboxed)
    outboxed.redis.xadd(STREAM, {"event": "{}"}, id="99-0")
    outboxed.redis.set(RELAYED, "99")
    with pytest.raises(StreamAhead):
        redis_stream.check_stream(outboxed.engine, outboxed.redis)
    with pytest.raises(StreamAhead):
        relay(outboxed)


def test_a_database_restored_to_an_earlier_point_is_refused_even_when_it_has_caught_up(
    outboxed: Pipeline,
) -> None:
    """Positions are given again, to other events: none of them may be skipped."""
    relay(outboxed)
    outboxed.execute("DELETE FROM publisher.outbox_event WHERE position > 27")
    outboxed.execute("UPDATE publisher.event_position SET position = 27")
    outboxed.publish(*(outboxed.video() for _ in range(5)))
    with pytest.raises(StreamAhead):
        redis_stream.check_stream(outboxed.engine, outboxed.redis)
    with pytest.raises(StreamAhead):
        relay(outboxed)
    redis_stream.rebuild(outboxed.engine, outboxed.redis, BASE_URL)
    redis_stream.check_stream(outboxed.engine, outboxed.redis)
    assert ids(outboxed.redis) == expected(1, 32)


def test_a_stream_out_of_sync_does_not_stop_publishing(outboxed: Pipeline) -> None:
    outboxed.redis.xadd(STREAM, {"event": "{}"}, id="99-0")
    video = outboxed.video()
    outboxed.accept(video)
    outlets.relay_all([StreamOutlet(outboxed.engine, outboxed.redis, BASE_URL)])
    outboxed.run()
    assert outboxed.value("SELECT is_draft FROM video WHERE id = %s", video) is False


def test_a_gap_is_refused(outboxed: Pipeline) -> None:
    """An old copy of Redis that ends before the oldest event that the outbox still has."""
    add_events(outboxed.redis, "7", first=3)
    outboxed.execute("DELETE FROM publisher.outbox_event WHERE position < 10")
    with pytest.raises(StreamGap):
        redis_stream.check_stream(outboxed.engine, outboxed.redis)
    with pytest.raises(StreamGap):
        relay(outboxed)
    assert ids(outboxed.redis) == ["3-0"]


def test_no_transaction_is_open_while_redis_is_used(outboxed: Pipeline) -> None:
    read = redis_stream.read_stream_end

    def check_idle(redis: Redis) -> redis_stream.StreamEnd:
        assert outboxed.engine.pool.checkedout() == 0  # pyright: ignore[reportAttributeAccessIssue]
        return read(redis)

    with patch.object(redis_stream, "read_stream_end", check_idle):
        relay(outboxed)


def test_pruning_keeps_events_that_are_not_on_the_stream(outboxed: Pipeline) -> None:
    age_events(outboxed, days=60)
    retention.prune(outboxed.engine, outboxed.redis, Settings())
    assert outboxed.value("SELECT count(*) FROM publisher.outbox_event") == 30


def test_pruning_deletes_old_events_that_are_on_the_stream(outboxed: Pipeline) -> None:
    relay(outboxed)
    age_events(outboxed, days=60, up_to=20)
    pruned = retention.prune(outboxed.engine, outboxed.redis, Settings())
    assert (pruned.outbox, pruned.stream) == (20, 20)
    assert ids(outboxed.redis) == expected(21, 30)


def test_trimming_the_stream_keeps_events_that_are_not_old(outboxed: Pipeline) -> None:
    relay(outboxed)
    age_events(outboxed, days=8, up_to=4)
    assert retention.trim(outboxed.engine, outboxed.redis, timedelta(days=7)) == 4
    assert ids(outboxed.redis) == expected(5, 30)


def test_pruning_leaves_no_hole_where_times_are_not_in_the_order_of_positions(
    outboxed: Pipeline,
) -> None:
    relay(outboxed)
    age_events(outboxed, days=60, up_to=20)
    outboxed.execute("UPDATE publisher.outbox_event SET occurred_at = now() WHERE position = 7")
    pruned = retention.prune(outboxed.engine, outboxed.redis, Settings())
    assert (pruned.outbox, pruned.stream) == (6, 6)
    outboxed.redis.flushall()
    relay(outboxed)
    assert ids(outboxed.redis) == expected(7, 30)


def test_pruning_deletes_nothing_while_the_stream_is_out_of_sync(outboxed: Pipeline) -> None:
    outboxed.redis.xadd(STREAM, {"event": "{}"}, id="99-0")
    age_events(outboxed, days=60)
    assert retention.prune(outboxed.engine, outboxed.redis, Settings()).outbox == 0


def test_an_empty_trimmed_stream_keeps_its_position(outboxed: Pipeline) -> None:
    relay(outboxed)
    age_events(outboxed, days=60)
    retention.prune(outboxed.engine, outboxed.redis, Settings())
    assert redis_stream.read_stream_end(outboxed.redis).position == 30
    outboxed.publish(outboxed.video())
    relay(outboxed)
    assert ids(outboxed.redis) == ["31-0"]


def test_a_stream_lost_after_pruning_begins_with_the_oldest_event_kept(outboxed: Pipeline) -> None:
    relay(outboxed)
    age_events(outboxed, days=60, up_to=20)
    retention.prune(outboxed.engine, outboxed.redis, Settings())
    outboxed.redis.flushall()
    relay(outboxed)
    assert ids(outboxed.redis) == expected(21, 30)


def test_old_commands_and_idempotency_keys_are_deleted(outboxed: Pipeline) -> None:
    outboxed.execute(
        "UPDATE publisher.publish_command SET finished_at = now() - interval '31 days'"
    )
    waiting = outboxed.accept(outboxed.video(), idempotency_scope="s", idempotency_key="k")
    outboxed.execute("UPDATE publisher.idempotency_key SET created_at = now() - interval '31 days'")
    pruned = retention.prune(outboxed.engine, outboxed.redis, Settings())
    assert (pruned.commands, pruned.idempotency_keys) == (30, 1)
    assert outboxed.command(waiting.commands[0].id).state == "scheduled"


def append_one_batch(pipeline: Pipeline) -> None:
    """Do what a relay does before it is killed."""
    with transaction(pipeline.engine) as tx:
        events = read_after(tx, 0, redis_stream.BATCH)
    arguments = [part for e in events for part in (e.position, to_cloud_event(e, BASE_URL))]
    pipeline.redis.register_script(redis_stream.APPEND)(
        keys=[STREAM, RELAYED], args=[0, 1, *arguments]
    )


def age_events(pipeline: Pipeline, *, days: int, up_to: int = 10**9) -> None:
    pipeline.execute(
        "UPDATE publisher.outbox_event SET occurred_at = occurred_at - make_interval(days => %s)"
        " WHERE position <= %s",
        days,
        up_to,
    )


def relays(outlet: StreamOutlet) -> bool:
    try:
        return outlet.relay() > 0
    except OutletUnreachable:
        return False


@pytest.mark.usefixtures("limits")
def test_after_a_time_out_the_relay_is_left_to_a_later_call_until_redis_answers(
    outboxed: Pipeline, redis_url: str
) -> None:
    silence = Silence(redis_url)
    hint, work = open_hint_redis(redis_url, silence), open_redis(redis_url, silence)
    outlet = StreamOutlet(outboxed.engine, work, BASE_URL)
    stands_still = SimpleNamespace(monotonic=lambda: 0.0)
    with frozen_redis(outboxed.redis), patch.object(redis_clients, "time", stands_still):
        with pytest.raises(RedisTimeoutError, match="Timeout"):
            hint.ping()
        with pytest.raises(OutletUnreachable, match="did not answer"):
            outlet.relay()
    wait_until(lambda: relays(outlet), "the next relay")
    assert len(ids(outboxed.redis)) == 30
    hint.close()
    work.close()


def test_an_outage_of_the_stream_is_logged_once(outboxed: Pipeline) -> None:
    outlet = StreamOutlet(outboxed.engine, outboxed.redis, BASE_URL)
    with capture_logs() as logs:
        outboxed.redis.config_set("maxmemory", "1")
        outlets.relay_all([outlet])
        outlets.relay_all([outlet])
        outboxed.redis.config_set("maxmemory", "0")
        outlets.relay_all([outlet])
    assert [line["event"] for line in logs] == ["relay.unreachable", "relay.reachable"]
    assert "maxmemory" in logs[0]["error"]


def test_a_stream_whose_end_cannot_be_read_is_not_taken_for_an_empty_one(
    outboxed: Pipeline, redis_url: str
) -> None:
    outboxed.redis.acl_setuser(
        "relay", enabled=True, nopass=True, keys=["*"], commands=["+@all", "-xinfo"]
    )
    client = Redis.from_url(f"redis://relay:any@{redis_url.partition('@')[2]}")
    with pytest.raises(OutletUnreachable):
        StreamOutlet(outboxed.engine, client, BASE_URL).relay()
    client.close()
    outboxed.redis.acl_deluser("relay")


# Foreign entries


def read_quarantine(pipeline: Pipeline) -> list[str]:
    return [body for (body,) in pipeline.rows("SELECT body FROM publisher.quarantined_message")]


@pytest.mark.parametrize(
    ("entry_id", "event"),
    [
        ("31-0", document(31, "7")),
        ("31-0", "{}"),
        ("99-0", document(99, "7")),
        ("30-1", document(30, "7")),
        ("*", "forged"),
        ("18446744073709551615-18446744073709551615", "the last ID of all"),
    ],
)
@pytest.mark.parametrize("meanwhile", [0, 2], ids=["idle", "busy"])
def test_a_foreign_entry_is_quarantined_and_the_relay_goes_on(
    outboxed: Pipeline, entry_id: str, event: str, meanwhile: int
) -> None:
    relay(outboxed)
    outboxed.redis.xadd(STREAM, {"event": event, "more": b"\xff"}, id=entry_id)
    if meanwhile:
        outboxed.publish(*(outboxed.video() for _ in range(meanwhile)))
    relay(outboxed)
    outboxed.publish(outboxed.video())
    relay(outboxed)
    assert ids(outboxed.redis) == expected(1, 31 + meanwhile)
    redis_stream.check_stream(outboxed.engine, outboxed.redis)
    [body] = read_quarantine(outboxed)
    assert json.loads(body)["fields"] == {"event": event, "more": "\\xff"}


@pytest.mark.parametrize("noted", ["0", "-1", "5", "99"])
def test_the_relay_goes_on_if_an_earlier_version_appended_and_did_not_note_it(
    outboxed: Pipeline, noted: str
) -> None:
    relay(outboxed)
    outboxed.redis.set(RELAYED, noted)
    outboxed.publish(outboxed.video())
    relay(outboxed)
    assert ids(outboxed.redis) == expected(1, 31)
    assert not read_quarantine(outboxed)


def test_many_foreign_entries_are_quarantined_once_by_several_relays(outboxed: Pipeline) -> None:
    relay(outboxed)
    for number in range(250):
        outboxed.redis.xadd(STREAM, {"event": f"forged {number}"})
    outboxed.publish(outboxed.video())
    outlet = StreamOutlet(outboxed.engine, outboxed.redis, BASE_URL)
    together(4, lambda: outlets.relay_all([outlet]))
    relay(outboxed)
    assert ids(outboxed.redis) == expected(1, 31)
    assert len(read_quarantine(outboxed)) == 250


def test_a_foreign_entry_on_a_new_stream_is_quarantined(outboxed: Pipeline) -> None:
    outboxed.redis.xadd(STREAM, {"event": "forged"})
    relay(outboxed)
    assert ids(outboxed.redis) == expected(1, 30)


@pytest.mark.parametrize("position", [1, 3, 29])
def test_a_stream_that_another_program_began_again_is_replaced(
    outboxed: Pipeline, position: int
) -> None:
    relay(outboxed)
    outboxed.redis.delete(STREAM)
    outboxed.redis.xadd(STREAM, {"event": document(position, "7")}, id=f"{position}-0")
    relay(outboxed)
    assert ids(outboxed.redis) == expected(1, 30)
    assert len(read_quarantine(outboxed)) == 1


def test_a_relay_that_is_second_to_remove_an_entry_removes_nothing_else(
    outboxed: Pipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    relay(outboxed)
    outboxed.redis.xadd(STREAM, {"event": "forged"})
    outboxed.publish(outboxed.video())
    lock = outlet.try_lock

    @contextmanager
    def lock_after_another_relay(engine: Engine, name: str) -> Generator[bool]:
        monkeypatch.setattr(outlet, "try_lock", lock)
        relay(outboxed)
        with lock(engine, name) as is_locked:
            yield is_locked

    monkeypatch.setattr(outlet, "try_lock", lock_after_another_relay)
    relay(outboxed)
    assert ids(outboxed.redis) == expected(1, 31)
    assert len(read_quarantine(outboxed)) == 1


def test_a_foreign_entry_after_those_of_an_earlier_version_is_quarantined(
    outboxed: Pipeline,
) -> None:
    relay(outboxed)
    outboxed.redis.delete(RELAYED)
    outboxed.redis.xadd(STREAM, {"event": "forged"})
    outboxed.publish(outboxed.video())
    relay(outboxed)
    assert ids(outboxed.redis) == expected(1, 31)


def test_a_foreign_entry_that_a_person_has_deleted_does_not_stop_the_relay(
    outboxed: Pipeline,
) -> None:
    relay(outboxed)
    outboxed.redis.xadd(STREAM, {"event": "forged"}, id="99-0")
    outboxed.redis.xdel(STREAM, "99-0")
    outboxed.publish(outboxed.video())
    relay(outboxed)
    assert ids(outboxed.redis) == expected(1, 31)


def test_a_group_that_has_read_a_foreign_entry_gets_the_events_after_it(
    outboxed: Pipeline,
) -> None:
    relay(outboxed)
    redis = outboxed.redis
    redis.xgroup_create(STREAM, "billing", "30-0")
    redis.xadd(STREAM, {"event": "forged"}, id="99-0")
    redis.xreadgroup("billing", "one", {STREAM: ">"})
    outboxed.publish(outboxed.video())
    relay(outboxed)
    answer: Any = redis.xreadgroup("billing", "one", {STREAM: ">"})
    assert [entry_id for entry_id, _ in parse_entries(answer)] == [b"31-0"]


@pytest.mark.parametrize("position", [31, 99])
def test_a_subscriber_that_has_read_a_foreign_entry_gets_the_events_after_it(
    outboxed: Pipeline, redis_url: str, position: int
) -> None:
    relay(outboxed)
    url = outboxed.engine.url.render_as_string(hide_password=False)
    with Subscriber(redis_url, group="search", database_url=url) as one, patience(one):
        assert handled(one, 30) == list(range(1, 31))
        outboxed.redis.xadd(STREAM, {"event": document(position, "7")}, id=f"{position}-0")
        if position == 31:
            delivery = next(one)
            assert delivery.event.id == "id-31"
            delivery.ack()
        genuine = outboxed.publish(outboxed.video(), outboxed.video())
        relay(outboxed)
        got = [next(one), next(one)]
        assert [each.position for each in got] == [31, 32]
        assert got[0].event.causationid == str(genuine[0].id)
