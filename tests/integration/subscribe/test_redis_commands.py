"""What docs/subscribing.md tells users of other Redis clients, command by command."""

import re
from collections.abc import Generator
from pathlib import Path
from typing import Any

import pytest
from redis import Redis
from redis.exceptions import ResponseError

from tests.support.subscribing import add_events, handled, patience
from worker.subscribe import Subscriber
from worker.subscribe.dead_letters import read_letters


def says(redis: Redis, line: str) -> Any:
    """Send a command as it is written in the docs, as `redis-cli` does."""
    client: Any = redis  # whose stubs do not know what a command answers
    return client.execute_command(*(word.strip("'") for word in line.split()))


def ids(answer: Any) -> list[bytes]:
    [(_, entries)] = answer.items() if hasattr(answer, "items") else answer
    entries = entries[0] if entries and isinstance(entries[0], list) else entries
    return [entry[0] for entry in entries]


def test_a_group_with_any_redis_client(redis: Redis) -> None:
    add_events(redis, *"abc")
    says(redis, "XGROUP CREATE video.events billing 0 MKSTREAM")
    read = "XREADGROUP GROUP billing billing-1 COUNT 100 BLOCK 5000 STREAMS video.events"
    assert ids(says(redis, f"{read} >")) == [b"1-0", b"2-0", b"3-0"]
    assert says(redis, "XACK video.events billing 1-0") == 1
    # after a restart under the same name: what is not acknowledged, then what is new
    assert ids(says(redis, f"{read} 0")) == [b"2-0", b"3-0"]
    # of another consumer that is gone
    _, entries, *_ = says(redis, "XAUTOCLAIM video.events billing billing-2 0 0-0 COUNT 100")
    assert [entry[0] for entry in entries] == [b"2-0", b"3-0"]
    says(redis, "XACK video.events billing 2-0 3-0")
    assert says(redis, "XPENDING video.events billing")["pending"] == 0
    assert b"lag" in (
        part for [group] in [says(redis, "XINFO GROUPS video.events")] for part in group
    )


def test_a_gap_shows_in_the_ids_and_a_group_that_is_gone_in_an_error(redis: Redis) -> None:
    add_events(redis, *"abcde")
    says(redis, "XGROUP CREATE video.events billing 1-0 MKSTREAM")
    says(redis, "XTRIM video.events MINID 4-0")
    read = "XREADGROUP GROUP billing billing-1 COUNT 100 STREAMS video.events >"
    assert ids(says(redis, read))[0] == b"4-0"  # expected 2-0: 2 and 3 are missing
    redis.delete("video.events")
    add_events(redis, *"abcde")
    says(redis, "XGROUP CREATE video.events billing 5-0 MKSTREAM")
    add_events(redis, "f", first=6)
    assert ids(says(redis, read)) == [b"6-0"]


@pytest.fixture
def consumer_url(redis: Redis, redis_url: str) -> Generator[str]:
    """The URL of the user that docs/operations.md makes for the group `search`."""
    page = (Path(__file__).parents[3] / "docs" / "operations.md").read_text()
    [rule] = re.findall(r"^ACL SETUSER search .*?(?=^```)", page, re.DOTALL | re.MULTILINE)
    redis.execute_command(*re.findall(r"\([^)]+\)|\S+", rule))
    yield f"redis://search:password@{redis_url.partition('@')[2]}"
    redis.acl_deluser("search")


def test_a_consumer_s_user_reads_the_stream_and_cannot_append_to_it(
    redis: Redis, consumer_url: str
) -> None:
    add_events(redis, "a", "b", "c")
    with (
        Subscriber(consumer_url, group="search", max_tries=1) as subscriber,
        patience(subscriber),
    ):
        assert handled(subscriber, 1) == [1]
        next(subscriber).fail("broken")
        assert handled(subscriber, 1) == [3]
    assert [letter.position for letter in read_letters(redis, "search")] == [2]
    append = "redis.call('XADD', KEYS[1], '*', 'event', 'forged')"
    with Redis.from_url(consumer_url) as client:
        for command in (
            ("XADD", "video.events", "*", "event", "forged"),
            ("EVAL", append, 1, "video.events"),
            ("DEL", "video.events"),
            ("XTRIM", "video.events", "MAXLEN", 0),
            ("XSETID", "video.events", "99-0"),
        ):
            with pytest.raises(ResponseError, match="No permissions"):
                client.execute_command(*command)
