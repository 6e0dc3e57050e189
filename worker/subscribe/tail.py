"""Follow the stream from a position on, in order, without a group: a tail for people and tests."""

import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from redis import Redis
from redis.exceptions import RedisError
from sqlalchemy import Engine

from db.errors import DATABASE_ERRORS
from db.errors import is_passing as is_passing_in_database
from db.session import transaction
from publish_worker_client.events.outbox import read_after, read_ends
from publish_worker_client.events.stream_entries import STREAM, parse_entry, parse_event
from publish_worker_client.servers.redis_errors import is_passing
from worker.events.redis_stream import read_stream_end
from worker.runtime.outage import Outage
from worker.runtime.redis_streams import RawEntry, parse_entries

BLOCK_MS = 500
"""How long one read waits; short, so that a stop is noticed."""
COUNT = 500


@dataclass(frozen=True, slots=True, kw_only=True)
class Received:
    """One event from the stream."""

    position: int
    event: dict[str, Any]
    """The CloudEvents document."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Missing:
    """These positions, first to last, are no longer on the stream; the outbox may have them."""

    first: int
    last: int


def follow(
    redis: Redis, after: int | None = None, engine: Engine | None = None
) -> Iterator[Received | Missing | None]:
    """Yield every event after position `after` (default None: only new ones), without end.

    Positions have no gaps, so a missing one is noticed and yielded as `Missing`; an entry that is
    not an event of this project is skipped; with `engine`, the publisher's database, so is an event
    that the outbox has not recorded. Yields None after each half second without an event, so
    that the caller can stop. Raises RedisError if Redis is unreachable at the start; later it is
    waited for, and its answer is logged once.
    """
    last = _find_end(redis, engine) if after is None else _check_reachable(redis, after)
    read_to: bytes | str = f"{last}-0"
    outage = Outage("tail.unreachable", "tail.reachable")
    while True:
        entries = _read(redis, read_to, outage)
        parsed = [each for entry in entries if (each := _to_received(*entry)) is not None]
        recorded = _select_recorded(engine, parsed, outage) if engine and parsed else parsed
        for received in recorded:
            if received.position != last + 1:
                yield Missing(first=last + 1, last=received.position - 1)
            yield received
            last = received.position
        if not entries or len(recorded) < len(parsed):
            read_to = f"{last}-0"  # the stream may have been rebuilt without what was skipped
            yield None
        else:
            read_to = entries[-1][0]


def _find_end(redis: Redis, engine: Engine | None) -> int:
    """Return the last position; that of a foreign entry does not count."""
    end = read_stream_end(redis).position
    if engine is None:
        return end
    with transaction(engine) as tx:
        last, _ = read_ends(tx)
    return min(end, last)


def _check_reachable(redis: Redis, after: int) -> int:
    redis.ping()
    return after


def _read(redis: Redis, read_to: bytes | str, outage: Outage) -> list[RawEntry]:
    """Read the next entries; none after a while, and while Redis is unreachable."""
    try:
        entries = parse_entries(redis.xread({STREAM: read_to}, count=COUNT, block=BLOCK_MS))
    except RedisError as error:
        if not is_passing(error):
            raise
        outage.note(error)
        redis.connection_pool.disconnect(inuse_connections=False)
        time.sleep(BLOCK_MS / 1_000)
        return []
    outage.end()
    return entries


def _select_recorded(engine: Engine, received: list[Received], outage: Outage) -> list[Received]:
    """Return the events that the outbox has recorded, or that it has pruned since.

    The rest is read again after a pause: the relay replaces foreign entries by its own.
    """
    try:
        recorded = _read_recorded(engine, received)
    except DATABASE_ERRORS as error:
        if not is_passing_in_database(error):
            raise
        outage.note(error)
        recorded = []
    if len(recorded) < len(received):
        time.sleep(BLOCK_MS / 1_000)
    return recorded


def _read_recorded(engine: Engine, received: list[Received]) -> list[Received]:
    first = received[0].position
    with transaction(engine) as tx:
        _, oldest = read_ends(tx)
        recorded = read_after(tx, first - 1, COUNT)
    ids = {event.position: str(event.id) for event in recorded}
    return [
        each
        for each in received
        if each.event["id"] == ids.get(each.position) or (oldest and each.position < oldest)
    ]


def _to_received(entry_id: bytes, fields: dict[bytes, bytes]) -> Received | None:
    if (parsed := parse_entry(entry_id, fields)) is None or (event := parse_event(*parsed)) is None:
        return None
    return Received(position=parsed[0], event=event)
