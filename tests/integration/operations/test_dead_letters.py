"""Dead letters on Redis: lost answers, large entries, entries and keys of other programs."""

import threading
from collections.abc import Generator
from contextlib import contextmanager
from typing import Any

import pytest
from redis import Redis

from schemas.audit import ActorKind, Door
from schemas.values.actor import Actor
from tests.support.pipeline import Pipeline
from tests.support.redis_proxy import redis_proxy
from tests.support.subscribing import document
from tests.support.valkey import Valkey
from worker.operations import dead_letters
from worker.operations.dead_letters import LetterTooLarge, NoSuchLetter, NotLetters, RedisNoAnswer
from worker.runtime.errors_explained import RedisUnavailable
from worker.runtime.redis_clients import open_redis
from worker.subscribe.dead_letters import is_letter_id, read_letters

DEAD, AGAIN = "video.events:dead:search", "video.events:again:search"
BY = Actor(kind=ActorKind.OPERATOR, door=Door.CLI, name="ada")
AUDITED = (
    "SELECT details->'events' FROM publisher.audit_entry"
    " WHERE action = 'dead_letter.retry' ORDER BY id"
)
MB = 2**20


def add(redis: Redis, *positions: int, size: int = 0) -> None:
    """Dead letters of the group `search`; `size`: what is added to each event."""
    for position in positions:
        event = document(position, "7") + " " * size
        fields: Any = {"position": position, "event": event, "error": "no"}
        redis.xadd(DEAD, fields, id=f"{position}-1")


@contextmanager
def losing(redis_url: str, answers: int) -> Generator[Redis]:
    """A client that does not get the answers to its first changes of dead letters."""
    with redis_proxy(redis_url, marker=b":redrive:", loses=answers) as proxy:
        client = open_redis(proxy.url)
        yield client
        client.close()


def test_an_event_is_redriven_once_though_the_answer_was_lost(
    pipeline: Pipeline, redis_url: str
) -> None:
    add(pipeline.redis, 1, 2)
    with losing(redis_url, 1) as redis:
        dead_letters.redrive_one(pipeline.engine, redis, "search", "1-1", BY)
    assert pipeline.redis.xlen(AGAIN) == 1
    assert pipeline.rows(AUDITED) == [(1,)]


def test_a_letter_is_deleted_though_the_answer_was_lost(pipeline: Pipeline, redis_url: str) -> None:
    add(pipeline.redis, 1)
    with losing(redis_url, 1) as redis:
        dead_letters.delete(pipeline.engine, redis, "search", "1-1", BY)
    assert pipeline.redis.xlen(DEAD) == 0
    assert pipeline.redis.xlen(AGAIN) == 0


def test_all_that_were_redriven_are_counted_though_the_answer_was_lost(
    pipeline: Pipeline, redis_url: str
) -> None:
    add(pipeline.redis, *range(1, 251))
    with losing(redis_url, 1) as redis:
        found = dead_letters.redrive_all(pipeline.engine, redis, "search", BY)
    assert found.events == 250
    assert pipeline.redis.xlen(AGAIN) == 250
    assert pipeline.rows(AUDITED) == [(250,)]


def test_without_any_answer_it_is_said_that_the_outcome_is_not_known(
    pipeline: Pipeline, redis_url: str
) -> None:
    add(pipeline.redis, 1)
    with (
        losing(redis_url, 2) as redis,
        pytest.raises(RedisNoAnswer, match="Whether this was done is not known"),
    ):
        dead_letters.redrive_one(pipeline.engine, redis, "search", "1-1", BY)
    assert pipeline.redis.xlen(AGAIN) == 1


def test_a_redis_without_memory_refuses_a_redrive_and_nothing_was_done(
    pipeline: Pipeline, valkey: Valkey
) -> None:
    add(valkey.client, 1, 2)
    valkey.client.config_set("maxmemory", "1")
    with pytest.raises(RedisUnavailable, match="raise maxmemory") as raised:
        dead_letters.redrive_all(pipeline.engine, valkey.client, "search", BY)
    assert not isinstance(raised.value, RedisNoAnswer)
    assert (valkey.client.xlen(DEAD), valkey.client.exists(AGAIN)) == (2, 0)


def test_two_people_redrive_one_letter_and_one_of_them_is_told_that_it_is_gone(
    pipeline: Pipeline,
) -> None:
    add(pipeline.redis, *range(1, 21))
    told: list[str] = []

    def redrive() -> None:
        for position in range(1, 21):
            try:
                dead_letters.redrive_one(
                    pipeline.engine, pipeline.redis, "search", f"{position}-1", BY
                )
            except NoSuchLetter:
                told.append(f"{position}-1")

    people = [threading.Thread(target=redrive) for _ in range(2)]
    for person in people:
        person.start()
    for person in people:
        person.join()
    assert len(told) == 20
    assert pipeline.redis.xlen(AGAIN) == 20
    assert len(pipeline.rows(AUDITED)) == 20


def test_a_page_of_large_letters_has_their_beginnings_and_fewer_of_them(
    pipeline: Pipeline,
) -> None:
    add(pipeline.redis, *range(1, 41), size=MB)
    page = dead_letters.list_page(pipeline.redis, "search", None, 50)
    assert len(page.items) < 20
    assert all(len(letter.raw) < 10_000 and letter.size > MB for letter in page.items)
    assert [letter.event["subject"] for letter in page.items[:2]] == ["7", "7"]
    seen = list(page.items)
    while page.next_after:
        before = page.next_after.id.decode()
        page = dead_letters.list_page(pipeline.redis, "search", before, 50)
        seen += page.items
    assert [letter.position for letter in seen] == list(range(40, 0, -1))


def test_large_letters_are_all_redriven_and_read_as_a_whole(pipeline: Pipeline) -> None:
    add(pipeline.redis, *range(1, 41), size=MB)
    assert (
        sum(len(letter.raw) == letter.size for letter in read_letters(pipeline.redis, "search"))
        == 40
    )
    found = dead_letters.redrive_all(pipeline.engine, pipeline.redis, "search", BY)
    assert (found.events, found.last) == (40, None)
    assert pipeline.redis.xlen(AGAIN) == 40


def test_one_letter_is_read_as_a_whole_unless_it_is_too_large(pipeline: Pipeline) -> None:
    add(pipeline.redis, 1, size=MB)
    add(pipeline.redis, 2, size=17 * MB)
    whole = dead_letters.read_whole_letter(pipeline.redis, "search", "1-1")
    assert len(whole.raw) == whole.size > MB
    with pytest.raises(LetterTooLarge, match="redis-cli XRANGE"):
        dead_letters.read_whole_letter(pipeline.redis, "search", "2-1")


def test_a_key_that_is_not_a_stream_is_named(pipeline: Pipeline) -> None:
    pipeline.redis.set(DEAD, "of another program")
    with pytest.raises(NotLetters, match=f"The key {DEAD} is not a stream"):
        dead_letters.list_page(pipeline.redis, "search", None, 50)
    with pytest.raises(NotLetters):
        dead_letters.redrive_all(pipeline.engine, pipeline.redis, "search", BY)


def test_no_letter_is_after_the_last_possible_id(pipeline: Pipeline) -> None:
    last = f"{2**64 - 1}-{2**64 - 1}"
    pipeline.redis.xadd(DEAD, {"entry": "7-7", "event": "foreign"}, id=last)
    assert [
        each.id for each in dead_letters.list_page(pipeline.redis, "search", None, 5).items
    ] == [last.encode()]
    for after in (None, last):
        found = dead_letters.redrive_all(
            pipeline.engine, pipeline.redis, "search", BY, after=after, limit=5
        )
        assert (found.events, found.last) == (0, None)


@pytest.mark.parametrize(
    "text", ["0-0", "1-01", "01-1", "1", "1-1-1", f"{2**64}-1", "\u0661-1", ""]
)
def test_only_what_redis_writes_is_the_id_of_a_letter(text: str) -> None:
    assert not is_letter_id(text)
    assert is_letter_id("0-1")
