"""Subscribe: every event from a position on, in order, and no gap passed over in silence."""

from itertools import islice
from typing import Any

import pytest
from redis import Redis
from redis.exceptions import NoPermissionError
from structlog.testing import capture_logs

from tests.support.pipeline import Pipeline
from tests.support.subscribing import add_events
from worker.subscribe import Missing, Received, follow


def positions(pipeline: Pipeline, count: int, after: int | None = 0) -> list[int | None]:
    return [
        item.position if isinstance(item, Received) else None
        for item in islice(follow(pipeline.redis, after), count)
    ]


def test_a_subscriber_reads_what_is_there_from_the_start(pipeline: Pipeline) -> None:
    pipeline.publish(*(pipeline.video() for _ in range(5)))
    pipeline.events()
    assert positions(pipeline, 5) == [1, 2, 3, 4, 5]


def test_a_subscriber_goes_on_after_its_position(pipeline: Pipeline) -> None:
    pipeline.publish(*(pipeline.video() for _ in range(5)))
    pipeline.events()
    assert positions(pipeline, 2, after=3) == [4, 5]


def test_a_subscriber_without_a_position_receives_only_new_events(pipeline: Pipeline) -> None:
    pipeline.publish(pipeline.video())
    pipeline.events()
    following = follow(pipeline.redis)
    assert next(following) is None
    pipeline.publish(pipeline.video())
    pipeline.events()
    heard = next(following)
    assert isinstance(heard, Received)
    assert heard.position == 2


def test_a_quiet_stream_gives_the_caller_a_chance_to_stop(pipeline: Pipeline) -> None:
    assert next(follow(pipeline.redis, 0)) is None


def test_events_that_are_no_longer_on_the_stream_are_reported(pipeline: Pipeline) -> None:
    pipeline.publish(*(pipeline.video() for _ in range(5)))
    pipeline.events()
    pipeline.redis.xtrim("video.events", minid="4-0", approximate=False)
    missing, first, *_ = islice(follow(pipeline.redis, 1), 3)
    assert missing == Missing(first=2, last=3)
    assert isinstance(first, Received)
    assert first.position == 4


def test_a_subscriber_does_not_notice_that_the_stream_was_lost_and_rebuilt(
    pipeline: Pipeline,
) -> None:
    pipeline.publish(*(pipeline.video() for _ in range(3)))
    pipeline.events()
    following = follow(pipeline.redis, 0)
    assert [next(following) for _ in range(3)]
    pipeline.redis.flushall()
    pipeline.publish(pipeline.video())
    pipeline.events()
    heard = next(following)
    assert isinstance(heard, Received)
    assert heard.position == 4


def test_entries_of_another_program_are_skipped(pipeline: Pipeline) -> None:
    pipeline.publish(*(pipeline.video() for _ in range(2)))
    pipeline.events()
    following = follow(pipeline.redis, 0)
    assert [next(following) for _ in range(2)]
    stream: Any = pipeline.redis.xrange("video.events", "2-0")
    [(_, last)] = stream
    pipeline.redis.xadd("video.events", {"something": "else"}, id="3-0")
    pipeline.redis.xadd("video.events", {"event": "[" * 100_000}, id="4-0")
    pipeline.redis.xadd("video.events", last, id="4-1")
    pipeline.redis.xadd("video.events", last, id="5-0")
    assert next(following) is None
    pipeline.redis.flushall()
    pipeline.publish(pipeline.video())
    pipeline.events()
    received = next(following)
    assert isinstance(received, Received)
    assert received.position == 3


def test_an_event_that_the_outbox_has_not_recorded_is_skipped(pipeline: Pipeline) -> None:
    pipeline.publish(pipeline.video())
    pipeline.events()
    add_events(pipeline.redis, "7", "7", first=2)
    following = follow(pipeline.redis, 0, pipeline.engine)
    first = next(following)
    assert isinstance(first, Received)
    assert next(following) is None
    pipeline.publish(pipeline.video())
    pipeline.events()
    second = next(item for item in following if item)
    assert isinstance(second, Received)
    assert (second.position, second.event["id"] == "id-2") == (2, False)


def test_an_outage_of_redis_is_waited_for_and_logged_once(redis: Redis, redis_url: str) -> None:
    add_events(redis, "a")
    user = "tail"
    redis.acl_setuser(user, enabled=True, nopass=True, keys=["*"], commands=["+@all"])
    client = Redis.from_url(f"redis://{user}:any@{redis_url.partition('@')[2]}")
    following = follow(client, 0)
    assert isinstance(next(following), Received)
    with capture_logs() as logs:
        redis.execute_command("ACL", "SETUSER", user, "-xread")
        assert [next(following), next(following)] == [None, None]
        redis.execute_command("ACL", "SETUSER", user, "+@all")
        add_events(redis, "b", first=2)
        assert isinstance(next(following), Received)
    first, *_, last = logs
    assert [line for line in logs if "no permissions" in line.get("error", "")] == [first]
    assert (first["event"], last["event"]) == ("tail.unreachable", "tail.reachable")
    redis.execute_command("ACL", "SETUSER", user, "-xinfo")
    with pytest.raises(NoPermissionError):
        next(follow(client))
    redis.acl_deluser(user)
    client.close()
