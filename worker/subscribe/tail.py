"""Follow the stream from a position on, in order, without a group: a tail for people and tests."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from redis import Redis

from worker.events.redis_stream import FIELD, STREAM, read_stream_end
from worker.runtime.redis_streams import parse_entries

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

    Positions have no gaps, so a missing one is noticed and yielded as `Missing`. Yields None after
    each half second without an event, so that the caller can stop. Raises RedisError when Redis is
    unreachable.
    """
    last = read_stream_end(redis).position if after is None else after
    while True:
        entries = parse_entries(redis.xread({STREAM: f"{last}-0"}, count=COUNT, block=BLOCK_MS))
        if not entries:
            yield None
        for entry_id, fields in entries:
            position = int(entry_id.split(b"-")[0])
            if position != last + 1:
                yield Missing(first=last + 1, last=position - 1)
            yield Received(position=position, event=json.loads(fields[FIELD.encode()]))
            last = position
