"""A consumer group's names on Redis, and the commands that one consumer of it sends."""

import os
import socket
import time
import zlib
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any
from uuid import uuid4

from publish_worker_client.events.stream_entries import STREAM, SUBSCRIBERS
from publish_worker_client.subscribe import scripts
from publish_worker_client.subscribe.connections import Command, Value
from publish_worker_client.subscribe.stream_entry import Entry, RawEntry, Source

MAX_NAME = 255
"""Characters."""
DEAD = f"{STREAM}:dead:"
REDELIVERY = f"{STREAM}:again:"
INDEX = {Source.MAIN: 1, Source.REDELIVERY: 2}
"""The index of each stream in a script's KEYS."""


def _consumer_name() -> str:
    return f"{socket.gethostname()}-{os.getpid()}-{uuid4().hex[:8]}"


def name_group(group: str, partition: tuple[int, int] | None) -> str:
    """Return the name of the consumer group: that of a partition is `search.0of4`.

    Raises ValueError if the name or the partition is not valid.
    """
    if not 0 < len(group) <= MAX_NAME or ":" in group or not group.isprintable():
        raise ValueError(
            f"group={group[:MAX_NAME]!r} is not valid: use a name of up to {MAX_NAME} printable"
            " characters without a colon"
        )
    if partition is None:
        return group
    index, count = partition
    if not 0 <= index < count:
        raise ValueError(
            f"there is no partition {index} of {count}: partitions are 0 to {count - 1}"
        )
    return f"{group}.{index}of{count}"


@dataclass(frozen=True, kw_only=True)
class Group:
    """One consumer of a group."""

    name: str
    partition: tuple[int, int] | None
    """(i, n): only the events whose key falls into partition i of n."""
    lease_seconds: float
    consumer: str = field(default_factory=_consumer_name)

    @cached_property
    def keys(self) -> tuple[str, ...]:
        """A script's KEYS."""
        marks = SUBSCRIBERS + self.name
        streams = (STREAM, REDELIVERY + self.name, DEAD + self.name)
        return (*streams, marks, f"{marks}:tries", f"{marks}:lease")

    @property
    def lease_ms(self) -> int:
        """How long the lease lasts, in milliseconds."""
        return int(self.lease_seconds * 1_000)

    def has(self, entry: Entry) -> bool:
        """Whether an event falls into this consumer's partition."""
        if self.partition is None:
            return True
        index, count = self.partition
        return zlib.crc32(entry.key.encode()) % count == index

    def run(self, script: str, *arguments: Value) -> Command:
        """Return the command that runs a script."""
        return ("EVALSHA", script, len(self.keys), *self.keys, self.name, self.consumer, *arguments)

    def read(self, count: int, block_ms: int) -> Command:
        """Return the command that reads what is new to the group."""
        options = ("COUNT", count, "BLOCK", max(block_ms, 1), "STREAMS", STREAM, ">")
        return ("XREADGROUP", "GROUP", self.name, self.consumer, *options)

    def count_try(self, entry: Entry) -> Command:
        """Return the command that counts a try of an event, and answers the number of tries."""
        return ("HINCRBY", self.keys[4], str(entry.position), 1)

    def dead_letter(self, entry: Entry, error: str, trace: str) -> Command:
        """Return the command that moves an event to the dead letters."""
        fields = ("position", entry.position, *self._letter(entry.raw, error, entry.tries))
        fields += ("traceback", _to_storable(trace)) if trace else ()
        index = INDEX[entry.source]
        return self.run(scripts.DEAD_LETTER, index, entry.id, entry.position, *fields)

    def dead_letter_foreign(self, source: Source, raw: RawEntry, error: str) -> Command:
        """Return the command that moves an entry that is not an event to the dead letters."""
        fields = ("entry", raw[0], *self._letter(_event_field(raw[1]), error, 0))
        return self.run(scripts.DEAD_LETTER, INDEX[source], raw[0], "", *fields)

    def skip_foreign(self, before: str, raw: RawEntry) -> Command:
        """Return the command that skips an entry whose position the outbox has not recorded."""
        error = "the outbox has not recorded this position"
        fields = ("entry", raw[0], *self._letter(_event_field(raw[1]), error, 0))
        return self.run(scripts.SKIP_FOREIGN, before, raw[0], *fields)

    def _letter(self, raw: bytes, error: str, attempts: int) -> Command:
        fields = (
            "event",
            raw,
            "error",
            _to_storable(error),
            "attempts",
            attempts,
            "consumer",
            self.consumer,
        )
        return (*fields, "failed_at", f"{time.time():.3f}")


def _event_field(fields: Any) -> bytes:
    """Return an entry's event field, or everything that it has."""
    pairs = dict(zip(fields[::2], fields[1::2], strict=False))
    return pairs.get(b"event", b" ".join(fields))


def _to_storable(text: str) -> bytes:
    """Return a text in UTF-8; half a surrogate pair, which UTF-8 does not have, as `?`."""
    return text.encode(errors="replace")
