"""Findings of `publish-worker doctor` that need no server: clocks, links, versions, the disk."""

from pathlib import Path
from typing import Any

import pytest

from db.server_facts import PostgresFacts
from worker.operations.doctor.clocks import assess_skew, to_skew
from worker.operations.doctor.findings import Level
from worker.operations.doctor.links import (
    Link,
    assess_link,
    read_broker_link,
    read_database_link,
    read_redis_link,
)
from worker.operations.doctor.postgres import assess_postgres
from worker.operations.doctor.redis_server import assess_redis
from worker.operations.doctor.surroundings import assess_disk, assess_settings
from worker.runtime.settings import Settings

PRIMARY: dict[str, Any] = {"redis_version": "8.0.1", "role": "master", "aof_enabled": 1}
WRITABLE: dict[str, Any] = {
    "version": "18.1",
    "major": 18,
    "is_durable": True,
    "role": "publish_worker",
    "clock": 0.0,
    "is_encrypted": True,
}
REMOTE = Link(setting="DATABASE_URL", hosts=("db.example.com",), is_encrypted=True)


@pytest.mark.parametrize(
    ("before", "clock", "after", "skew"),
    [(10, 10.5, 11, 0), (10, 12, 11, 1), (10, 7, 11, -3), (10, 10, 10, 0)],
)
def test_the_way_there_and_back_is_not_skew(
    before: float, clock: float, after: float, skew: float
) -> None:
    assert to_skew(before, clock, after) == skew


@pytest.mark.parametrize(
    ("seconds", "level", "words"),
    [
        (1.5, Level.OK, "agree"),
        (-2.5, Level.WARNING, "2.5 s slow"),
        (301, Level.ERROR, "301.0 s fast"),
    ],
)
def test_a_clock_that_is_wrong(seconds: float, level: Level, words: str) -> None:
    found = assess_skew("Redis", seconds)
    assert (found.level, words in found.detail) == (level, True)
    assert bool(found.remedy) is (level is not Level.OK)


@pytest.mark.parametrize(
    ("link", "level", "words"),
    [
        (read_redis_link("REDIS_URL", "redis://:p@127.0.0.1:1/0"), Level.OK, "on this machine"),
        (read_redis_link("REDIS_URL", "unix:///run/redis.sock"), Level.OK, "on this machine"),
        (read_redis_link("REDIS_URL", "redis://:p@r.example.com/0"), Level.WARNING, "rediss://"),
        (read_redis_link("REDIS_URL", "rediss://:p@r.example.com/0"), Level.OK, "is checked"),
        (read_broker_link("BROKER_URL", "amqp://u:p@a.example.com//"), Level.WARNING, "clear"),
        (read_broker_link("AMQP_URL", "amqp://u:p@a.example.com//"), Level.WARNING, "amqps://"),
        (read_broker_link("BROKER_URL", "amqps://u:p@a.example.com//"), Level.OK, "encrypted"),
        (
            read_database_link("postgresql://u:p@db.example.com/d", is_encrypted=False),
            Level.WARNING,
            "sslmode=verify-full",
        ),
        (
            read_database_link("postgresql://u:p@db.example.com/d", is_encrypted=True),
            Level.WARNING,
            "certificate is not checked",
        ),
        (
            read_database_link(
                "postgresql://u:p@db.example.com/d?sslmode=verify-full", is_encrypted=True
            ),
            Level.OK,
            "is checked",
        ),
        (
            read_database_link("postgresql://u@/d?host=/run/postgresql", is_encrypted=False),
            Level.OK,
            "on this machine",
        ),
    ],
)
def test_a_link_to_another_machine_should_be_encrypted(
    link: Link, level: Level, words: str
) -> None:
    found = assess_link(link)
    assert found.level == level
    assert words in f"{found.detail} {found.remedy}"


@pytest.mark.parametrize(
    ("change", "level", "words"),
    [
        ({}, Level.OK, "as role publish_worker"),
        ({"version": "14.2", "major": 14}, Level.ERROR, "too old"),
        ({"is_durable": False}, Level.WARNING, "not on the disk yet"),
    ],
)
def test_a_server_that_does_not_suit(change: dict[str, Any], level: Level, words: str) -> None:
    [found] = assess_postgres(PostgresFacts(**WRITABLE | change))
    assert (found.level, words in found.detail) == (level, True)


@pytest.mark.parametrize(
    ("facts", "name", "level"),
    [
        ({}, "redis server", Level.OK),
        ({"redis_version": "6.2.7"}, "redis server", Level.ERROR),
        ({"valkey_version": "7.2.4", "redis_version": "7.2.4"}, "redis server", Level.ERROR),
        ({"maxmemory_policy": "allkeys-lru", "maxmemory": 10**8}, "eviction", Level.ERROR),
        ({"maxmemory_policy": "allkeys-lru", "maxmemory": 0}, "eviction", Level.WARNING),
        ({"maxmemory_policy": "noeviction", "maxmemory": 10**8}, "eviction", Level.OK),
        ({"aof_enabled": 0}, "persistence", Level.WARNING),
        ({"aof_last_write_status": "err"}, "persistence", Level.ERROR),
    ],
)
def test_a_redis_that_does_not_suit(facts: dict[str, Any], name: str, level: Level) -> None:
    found = {each.name: each.level for each in assess_redis(PRIMARY | facts)}
    assert found[name] == level


@pytest.mark.parametrize(
    ("settings", "links", "level"),
    [
        ({}, [], Level.OK),
        ({}, [REMOTE], Level.WARNING),
        ({"public_base_url": "http://videos.example.com"}, [], Level.WARNING),
        ({"public_base_url": "https://videos.example.com"}, [REMOTE], Level.OK),
    ],
)
def test_the_site_of_the_links_must_be_reachable_for_readers(
    settings: dict[str, Any], links: list[Link], level: Level
) -> None:
    assert [each.level for each in assess_settings(Settings(**settings), links)] == [level]


def test_a_disk_has_room(tmp_path: Path) -> None:
    found = assess_disk(tmp_path / "not" / "made" / "yet")
    assert "GiB free" in found.detail
