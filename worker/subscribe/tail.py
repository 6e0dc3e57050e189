"""Follow the stream from a position on, in order, without a group: a tail for people and tests."""

import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from redis import Redis
from redis.exceptions import RedisError

from worker.events.redis_stream import STREAM, parse_entry, parse_event, read_stream_end
from worker.runtime.outage import Outage
from worker.runtime.redis_errors import is_passing
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


def follow(redis: Redis, after: int | None = None) -> Iterator[Received | Missing | None]:
    """Yield every event after position `after` (default None: only new ones), without end.

    Positions have no gaps, so a missing one is noticed and yielded as `Missing`; an entry that is
    not an event of this project is skipped. Yields None after each half second without an event, so
    that the caller can stop. Raises RedisError if Redis is unreachable at the start; later it is
    waited for, and its answer is logged once.
    """
    end = read_stream_end(redis).position
    last = end if after is None else after
    read_to: bytes | str = f"{last}-0"
    outage = Outage("tail.unreachable", "tail.reachable")
    while True:
        entries = _read(redis, read_to, outage)
        if not entries:
            read_to = f"{last}-0"  # the stream may have been rebuilt without what was skipped
            yield None
        for entry_id, fields in entries:
            read_to = entry_id
            if (received := _to_received(entry_id, fields)) is None:
                continue
            if received.position != last + 1:
                yield Missing(first=last + 1, last=received.position - 1)
            yield received
            last = received.position


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


def _to_received(entry_id: bytes, fields: dict[bytes, bytes]) -> Received | None:
    if (parsed := parse_entry(entry_id, fields)) is None or (event := parse_event(*parsed)) is None:
        return None
    return Received(position=parsed[0], event=event)
