"""The subscriber: every event in order, acknowledged, tried again, dead letters, redriven."""

import json
import threading
from base64 import b64encode
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from functools import partial
from itertools import chain, islice
from typing import Any

import pytest
from psycopg.errors import CheckViolation
from redis import Redis

from publish_worker_client.events.data import VideoPublished
from publish_worker_client.events.names import EventType
from publish_worker_client.subscribe.stream_entry import OURS
from tests.support.client_logs import capture_client_logs
from tests.support.pipeline import BASE_URL, Pipeline
from tests.support.subscribing import (
    acknowledged,
    add_events,
    document,
    handled,
    patience,
    publish_videos,
)
from tests.support.waiting import wait_until
from worker.events import redis_stream
from worker.subscribe import Delivery, Gap, Subscriber, Unacknowledged
from worker.subscribe.dead_letters import read_letters, redrive_next, redrive_position

FAST: dict[str, Any] = {"retry_seconds": 0.001, "lease_seconds": 0.6}


def test_a_new_group_begins_with_the_oldest_event_and_events_are_typed(
    pipeline: Pipeline, urls: dict[str, Any]
) -> None:
    [video, _] = publish_videos(pipeline, 2)
    with Subscriber(**urls, group="search") as subscriber:
        first, second = islice(subscriber, 2)
        assert first.event.type == EventType.PUBLISHED
        assert isinstance(first.event.data, VideoPublished)
        assert first.event.data.video_id == video
        assert (first.position, first.event.position, second.position) == (1, 1, 2)


def test_acknowledged_events_are_not_delivered_again(
    pipeline: Pipeline, urls: dict[str, Any]
) -> None:
    publish_videos(pipeline, 5)
    with Subscriber(**urls, group="search") as subscriber:
        assert handled(subscriber, 3) == [1, 2, 3]
    with Subscriber(**urls, group="search") as subscriber:
        assert handled(subscriber, 2) == [4, 5]


def test_unacknowledged_events_are_delivered_again_before_new_ones(
    pipeline: Pipeline, urls: dict[str, Any]
) -> None:
    publish_videos(pipeline, 3)
    with Subscriber(**urls, group="search") as subscriber:
        next(subscriber).ack()
        next(subscriber)
    publish_videos(pipeline, 1)
    with Subscriber(**urls, group="search") as subscriber:
        assert handled(subscriber, 3) == [2, 3, 4]


def test_each_group_gets_every_event(pipeline: Pipeline, urls: dict[str, Any]) -> None:
    publish_videos(pipeline, 3)
    for group in ("search", "feeds"):
        with Subscriber(**urls, group=group) as subscriber:
            assert handled(subscriber, 3) == [1, 2, 3]


def test_a_group_may_begin_after_a_position(pipeline: Pipeline, urls: dict[str, Any]) -> None:
    publish_videos(pipeline, 4)
    with Subscriber(**urls, group="search", start_after=2) as subscriber:
        assert handled(subscriber, 2) == [3, 4]


def test_a_waiting_subscriber_receives_new_events(pipeline: Pipeline, urls: dict[str, Any]) -> None:
    with Subscriber(**urls, group="search") as subscriber, patience(subscriber):
        threading.Timer(0.01, publish_videos, (pipeline, 1)).start()
        assert handled(subscriber, 1) == [1]


def test_a_type_or_version_that_is_not_known_comes_untyped(redis: Redis, redis_url: str) -> None:
    redis.xadd("video.events", {"event": document(1, "7", "video.praised")}, id="1-0")
    add_events(redis, "7", first=2)
    with Subscriber(redis_url, group="search") as subscriber:
        unknown_type, unknown_version = islice(subscriber, 2)
        assert unknown_type.event.type == "video.praised"
        assert unknown_type.event.data == {"n": 1}
        assert unknown_version.event.data == {"n": 2}


@pytest.mark.parametrize(
    ("entry_id", "fields"),
    [
        ("1-1", {"event": document(1, "7")}),
        ("2-0", {"event": "no JSON"}),
        ("2-0", {"event": '["sequence": "2"]'}),
        ("2-0", {"event": '{"sequence": "2"}'}),
        ("2-0", {"event": '{"x": {"sequence": "2"}, "id": "i", "type": "t", "source": "s"}'}),
        ("2-0", {"other": "field", "and": "more"}),
        ("2-0", {"event": b"\xff\xfe"}),
    ],
)
def test_a_foreign_entry_becomes_a_dead_letter(
    pipeline: Pipeline, urls: dict[str, Any], entry_id: str, fields: Any
) -> None:
    publish_videos(pipeline, 1)
    pipeline.redis.xadd("video.events", fields, id=entry_id)
    pipeline.publish(pipeline.video(), pipeline.video())
    for position in (2, 3):
        if (position, entry_id) != (2, "2-0"):
            pipeline.redis.xadd(
                "video.events", {"event": document(position, "7")}, id=f"{position}-0"
            )
    with Subscriber(**urls, group="search") as subscriber, patience(subscriber):
        assert sorted(handled(subscriber, 3)) == [1, 2, 3]
    [letter] = read_letters(pipeline.redis, "search")
    assert letter.position is None
    assert redrive_next(pipeline.redis, "search").events == 0


@pytest.mark.parametrize("partition", [None, (0, 1)])
@pytest.mark.parametrize(
    "rest",
    [
        b'\xff "sequence": "2" "partitionkey": "\xff" }',
        b'1", "sequence": "2", "partitionkey": "a\\"b", }',
        b'1", "sequence": "2", "data": ' + b"[" * 100_000 + b"}",
    ],
    ids=range(3),
)
def test_a_broken_document_that_looks_like_the_relays_becomes_a_dead_letter(
    redis: Redis, redis_url: str, rest: bytes, partition: tuple[int, int] | None
) -> None:
    add_events(redis, "a")
    redis.xadd("video.events", {"event": OURS + rest}, id="2-0")
    add_events(redis, "c", first=3)
    options: dict[str, Any] = {"partition": partition, "max_tries": 1}
    got: list[int] = []
    with Subscriber(redis_url, group="search", **options) as subscriber, patience(subscriber):

        def handle(delivery: Delivery) -> None:
            got.append(delivery.event.position)
            if delivery.position == 3:
                subscriber.stop()

        subscriber.run(handle)
        name = subscriber.group.name
    assert got == [1, 3]
    assert [letter.position for letter in read_letters(redis, name)] == [2]


def test_an_event_that_no_outbox_recorded_becomes_a_dead_letter(
    pipeline: Pipeline, urls: dict[str, Any]
) -> None:
    publish_videos(pipeline, 2)
    pipeline.redis.xadd("video.events", {"event": document(99, "7")}, id="99-0")
    with Subscriber(**urls, group="search") as subscriber, patience(subscriber):
        assert handled(subscriber, 2) == [1, 2]
        watching = threading.Thread(target=lambda: list(subscriber))
        watching.start()
        wait_until(
            lambda: list(read_letters(pipeline.redis, "search")),
            "the foreign entry to become a dead letter",
        )
        subscriber.stop()
        watching.join()
    assert redis_stream.rebuild(pipeline.engine, pipeline.redis, BASE_URL) == 2
    publish_videos(pipeline, 1)
    with Subscriber(**urls, group="search") as subscriber, patience(subscriber):
        assert handled(subscriber, 1) == [3]


def test_a_failed_event_is_tried_again_and_holds_back_only_its_own_video(
    redis: Redis, redis_url: str
) -> None:
    add_events(redis, "a", "b", "a", "c", "a", "b")
    order: list[tuple[int, int]] = []
    with Subscriber(redis_url, group="search", **FAST) as subscriber:
        for delivery in subscriber:
            order.append((delivery.position, delivery.attempt))
            if order[-1] == (1, 1) or order[-1] == (1, 2):
                delivery.fail(ValueError("not now"))
            else:
                delivery.ack()
            if len(order) == 8:
                subscriber.stop()
    of_a = [position for position, _ in order if position in (1, 3, 5)]
    assert of_a == [1, 1, 1, 3, 5]
    assert sorted({position for position, _ in order}) == [1, 2, 3, 4, 5, 6]
    assert (1, 3) in order


def test_after_five_tries_an_event_is_a_dead_letter_and_others_go_on(
    redis: Redis, redis_url: str
) -> None:
    add_events(redis, "a", "a", "b")
    seen: list[int] = []

    def handle(delivery: Delivery) -> None:
        seen.append(delivery.position)
        if delivery.position == 1:
            raise RuntimeError("cannot index that")
        if {2, 3} <= set(seen):
            subscriber.stop()

    with Subscriber(redis_url, group="search", **FAST) as subscriber, patience(subscriber):
        subscriber.run(handle)
    assert seen.count(1) == 5
    assert [position for position in seen if position != 3] == [1] * 5 + [2]
    [letter] = read_letters(redis, "search")
    assert (letter.position, letter.attempts) == (1, 5)
    assert letter.error == "RuntimeError: cannot index that"
    assert letter.event["id"] == "id-1"
    assert redis.xpending("video.events", "search")["pending"] == 0


def test_a_dead_letter_has_no_contents_of_the_handlers_rows(redis: Redis, redis_url: str) -> None:
    add_events(redis, "a")
    refusal = CheckViolation("no\nDETAIL:  Failing row contains (1, private).")
    with Subscriber(redis_url, group="search", max_tries=1) as subscriber, patience(subscriber):
        next(subscriber).fail(refusal)
    [letter] = read_letters(redis, "search")
    assert letter.error == "CheckViolation: no"


def refuse() -> None:
    detail = "Failing row contains (1, private)."
    raise CheckViolation(f"no\nDETAIL:  {detail}")


def index(_: Delivery) -> None:
    try:
        refuse()
    except CheckViolation as refusal:
        raise RuntimeError("cannot index that") from refusal


def test_a_failing_handler_is_logged_and_kept_with_its_traceback(
    redis: Redis, redis_url: str
) -> None:
    add_events(redis, "a")

    def handle(delivery: Delivery) -> None:
        subscriber.stop()
        index(delivery)

    options: dict[str, Any] = {"max_tries": 1}
    with (
        capture_client_logs() as logs,
        Subscriber(redis_url, group="search", **options) as subscriber,
        patience(subscriber),
    ):
        subscriber.run(handle)
    [line] = [line for line in logs if line["event"] == "subscriber.dead_lettered"]
    assert line["exc_info"].__traceback__ is not None
    [letter] = read_letters(redis, "search")
    assert letter.error == "RuntimeError: cannot index that"
    first, _, last = letter.traceback.partition("is the cause of this one")
    assert first.count("Traceback (most recent call last)") == 1
    assert first.rstrip().endswith("CheckViolation: no\n\nThe error above")
    assert "private" not in letter.traceback
    assert last.rstrip().endswith("RuntimeError: cannot index that")
    assert "in index" in last


@pytest.mark.parametrize("decision", [Delivery.ack, partial(Delivery.fail, error="later")])
def test_a_handler_may_decide_by_itself(
    redis: Redis, redis_url: str, decision: Callable[[Delivery], None]
) -> None:
    add_events(redis, "a")

    def handle(delivery: Delivery) -> None:
        decision(delivery)
        subscriber.stop()
        raise RuntimeError("after the decision")

    with Subscriber(redis_url, group="search", max_tries=1) as subscriber, patience(subscriber):
        subscriber.run(handle)
    errors = [letter.error for letter in read_letters(redis, "search")]
    assert errors == ([] if decision is Delivery.ack else ["later"])
    assert redis.xpending("video.events", "search")["pending"] == 0


def test_a_dead_letter_is_redriven_to_its_group_alone(redis: Redis, redis_url: str) -> None:
    add_events(redis, "a", "b")
    with Subscriber(redis_url, group="feeds") as other:
        assert handled(other, 2) == [1, 2]
    with Subscriber(redis_url, group="search", max_tries=1) as subscriber:
        next(subscriber).fail("no")
        assert handled(subscriber, 1) == [2]
    assert redrive_position(redis, "search", 7) == 0
    assert redrive_position(redis, "search", 1) == 1
    add_events(redis, "c", first=3)
    with Subscriber(redis_url, group="search") as subscriber:
        assert handled(subscriber, 2) == [1, 3]
    with Subscriber(redis_url, group="feeds") as other:
        assert handled(other, 1) == [3]
    assert not list(read_letters(redis, "search"))
    assert redis.xlen("video.events:again:search") == 0


def test_a_dead_letter_reaches_a_subscriber_that_waits(redis: Redis, redis_url: str) -> None:
    add_events(redis, "a")
    with (
        Subscriber(redis_url, group="search", max_tries=1) as subscriber,
        patience(subscriber),
    ):
        next(subscriber).fail("no")
        threading.Timer(0.05, redrive_next, (redis, "search")).start()
        assert handled(subscriber, 1) == [1]


def test_an_event_that_kills_its_consumers_becomes_a_dead_letter(
    redis: Redis, redis_url: str
) -> None:
    add_events(redis, "a", "b", "c")
    for _ in range(5):
        with Subscriber(redis_url, group="search", max_tries=4) as subscriber:
            assert next(subscriber).position == 1  # and the process is gone
    with Subscriber(redis_url, group="search", max_tries=4) as subscriber:
        assert handled(subscriber, 2) == [2, 3]
    [letter] = read_letters(redis, "search")
    assert letter.position == 1
    assert "ended 4 times" in letter.error


def test_a_second_consumer_is_on_standby_and_goes_on_where_the_first_one_ended(
    redis: Redis, redis_url: str
) -> None:
    add_events(redis, "a", "b", "c")
    heard: list[int] = []
    with (
        Subscriber(redis_url, group="search") as second,
        patience(second),
        capture_client_logs() as logs,
    ):
        waiting = threading.Thread(target=lambda: heard.extend(handled(second, 2)))
        with Subscriber(redis_url, group="search") as first:
            assert handled(first, 1) == [1]
            waiting.start()
            wait_until(
                lambda: any(line["event"] == "subscriber.standing_by" for line in logs),
                "the second one to stand by",
            )
        waiting.join()
    assert heard == [2, 3]


def test_partitions_of_a_group_divide_the_videos(redis: Redis, redis_url: str) -> None:
    add_events(redis, *"abcdefgh")
    groups = [f"search.{part}of3" for part in range(3)]
    with ExitStack() as stack, ThreadPoolExecutor() as pool:
        members = [
            stack.enter_context(Subscriber(redis_url, group="search", partition=(part, 3)))
            for part in range(3)
        ]
        reading = [pool.submit(list, map(acknowledged, each)) for each in members]
        marks = [f"publish-worker:subscriber:{group}" for group in groups]
        wait_until(lambda: {redis.hget(each, "floor") for each in marks} == {b"8"}, "every event")
        for each in members:
            each.stop()
    got = [each.result() for each in reading]
    assert sorted(chain.from_iterable(got)) == list(range(1, 9))
    assert all(got)
    assert [redis.xpending("video.events", group)["pending"] for group in groups] == [0, 0, 0]


def test_a_partition_that_does_not_exist_is_refused(redis_url: str) -> None:
    with pytest.raises(ValueError, match="no partition 3 of 3"):
        Subscriber(redis_url, group="search", partition=(3, 3))


def test_a_subscriber_with_a_thousand_unacknowledged_events_gets_no_more(
    redis: Redis, redis_url: str
) -> None:
    add_events(redis, *("a" for _ in range(1_200)))
    with (
        Subscriber(redis_url, group="search") as subscriber,
        pytest.raises(Unacknowledged, match="neither acknowledged nor failed"),
    ):
        list(islice(subscriber, 1_200))


def test_a_gap_is_raised_where_there_is_no_outbox_and_can_be_passed_over(
    redis: Redis, redis_url: str
) -> None:
    add_events(redis, *"abcdef")
    with Subscriber(redis_url, group="search") as subscriber:
        handled(subscriber, 1)
    redis.delete("publish-worker:subscriber:search")
    redis.xgroup_setid("video.events", "search", "1-0")
    redis.xtrim("video.events", minid="4-0", approximate=False)
    redis.xpending_range("video.events", "search", "-", "+", 10)
    redis.xack("video.events", "search", "2-0", "3-0", "4-0", "5-0", "6-0")
    with Subscriber(redis_url, group="search") as subscriber:
        with pytest.raises(Gap, match="2 to 3"):
            next(subscriber)
        with pytest.raises(Gap, match="2 to 3") as caught:
            next(subscriber)
        subscriber.pass_over(caught.value)
        assert handled(subscriber, 3) == [4, 5, 6]


def test_data_in_base64_is_decoded(redis: Redis, redis_url: str) -> None:
    plain = json.loads(document(1, "a"))
    encoded = b64encode(json.dumps(plain.pop("data")).encode()).decode()
    redis.xadd("video.events", {"event": json.dumps(plain | {"data_base64": encoded})}, id="1-0")
    with Subscriber(redis_url, group="search") as subscriber, patience(subscriber):
        assert next(subscriber).event.data == {"n": 1}
