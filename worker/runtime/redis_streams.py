"""Redis streams: the entries of an answer, and a consumer group that survives crashes and flushes.

A consumer acknowledges an entry once its effects are committed, so a crash anywhere means that the
entry is delivered again.
"""

import os
import socket
from collections.abc import Iterable, Iterator
from datetime import timedelta
from typing import Any

from redis import Redis
from redis.exceptions import ResponseError

ABANDONED_MS = 30_000
"""Milliseconds after which an entry that its consumer has not acknowledged goes to another one."""
DEAD_MS = 3_600_000
"""Milliseconds after which an idle consumer with no pending entry is removed from the group."""

# KEYS[1]: the stream. ARGV[1]: the group. ARGV[2]: how long idle, in milliseconds. Looks and
# removes in one step: an entry that is delivered in between would be lost with its consumer.
REMOVE_DEAD_CONSUMERS = """
for _, consumer in ipairs(redis.call('XINFO', 'CONSUMERS', KEYS[1], ARGV[1])) do
    local seen = {}
    for i = 1, #consumer, 2 do seen[consumer[i]] = consumer[i + 1] end
    if seen['pending'] == 0 and seen['idle'] >= tonumber(ARGV[2]) then
        redis.call('XGROUP', 'DELCONSUMER', KEYS[1], ARGV[1], seen['name'])
    end
end
"""

RawEntry = tuple[bytes, dict[bytes, bytes]]
"""An entry's ID and its fields; no fields: it was removed from the stream while it was pending."""


def parse_entries(answer: Any) -> list[RawEntry]:
    """Return the entries in an answer to XREAD or XREADGROUP on one stream, by RESP2 or RESP3."""
    if not answer:
        return []
    [(_, entries)] = answer.items() if hasattr(answer, "items") else answer
    found: list[Any] = entries[0] if entries and isinstance(entries[0], list) else entries
    return [(entry_id, fields or {}) for entry_id, fields in found]


class ConsumerGroup:
    """One consumer of a group on one stream; the group is created when it is missing.

    `consumer` must differ between processes; default: the host's name and the process id.
    Each method raises RedisError when Redis is unreachable.
    """

    def __init__(self, redis: Redis, stream: str, group: str, consumer: str | None = None) -> None:
        self._redis = redis
        self._stream = stream
        self._group = group
        self._consumer = consumer or f"{socket.gethostname()}-{os.getpid()}"

    def read_batches(self, count: int) -> Iterator[list[RawEntry]]:
        """Yield this consumer's pending entries, then the abandoned ones of others, then new ones.

        A batch has at most `count` entries. An entry that is yielded and not acknowledged is not
        yielded again by the same call.
        """
        after: Any = b"0"
        while entries := self._read(after, count):
            after = entries[-1][0]
            yield entries
        while entries := self._claim_abandoned(count):
            yield entries
        while entries := self._read(">", count):
            yield entries

    def acknowledge(self, entry_ids: Iterable[bytes]) -> None:
        """Tell Redis that these entries are done."""
        if ids := list(entry_ids):
            self._redis.xack(self._stream, self._group, *ids)

    def trim(self, age: timedelta) -> int:
        """Remove acknowledged entries older than `age`; return their number. Remove dead consumers.

        An entry's ID is the time at which Redis received it. The last delivered entry stays: it
        marks how far the group has read.
        """
        if not self._redis.exists(self._stream):
            return 0
        groups: Any = self._redis.xinfo_groups(self._stream)
        ours = next((each for each in groups if each["name"] == self._group.encode()), None)
        if ours is None:
            return 0
        remove = self._redis.register_script(REMOVE_DEAD_CONSUMERS)
        remove(keys=[self._stream], args=[self._group, DEAD_MS])
        now: Any = self._redis.time()
        oldest = b"%d-0" % max(0, now[0] * 1000 - round(age.total_seconds() * 1000))
        pending: Any = self._redis.xpending(self._stream, self._group)
        bounds = [oldest, ours["last-delivered-id"], *filter(None, [pending["min"]])]
        first = min(bounds, key=_order)
        return int(self._redis.xtrim(self._stream, minid=first, approximate=False))

    def _read(self, after: Any, count: int) -> list[RawEntry]:
        """Read pending entries after an ID, or new ones (`>`)."""
        asked: Any = {self._stream: after}
        try:
            answer = self._redis.xreadgroup(self._group, self._consumer, asked, count=count)
        except ResponseError as error:
            if not str(error).startswith("NOGROUP"):  # before the first read, or after a flush
                raise
            self._create()
            answer = self._redis.xreadgroup(self._group, self._consumer, asked, count=count)
        return parse_entries(answer)

    def _create(self) -> None:
        try:
            self._redis.xgroup_create(self._stream, self._group, id="0", mkstream=True)
        except ResponseError as error:
            if not str(error).startswith("BUSYGROUP"):  # another process was faster
                raise

    def _claim_abandoned(self, count: int) -> list[RawEntry]:
        """Take over entries that other consumers have not acknowledged for a long time."""
        start: Any = "0-0"
        while True:  # an answer may have no entry and yet a place to go on from
            answer: Any = self._redis.xautoclaim(
                self._stream, self._group, self._consumer, ABANDONED_MS, start, count=count
            )
            start, entries = answer[0], answer[1]
            if entries or start == b"0-0":
                return [(entry_id, fields or {}) for entry_id, fields in entries]


def _order(entry_id: bytes) -> tuple[int, int]:
    milliseconds, sequence = entry_id.split(b"-")
    return int(milliseconds), int(sequence)
