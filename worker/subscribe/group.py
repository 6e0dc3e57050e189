"""A consumer group's names on Redis, and the commands that a consumer of it sends."""

import os
import socket
import time
import zlib
from dataclasses import dataclass, field
from typing import Any
from uuid import uuid4

from worker.events.redis_stream import STREAM
from worker.subscribe import scripts
from worker.subscribe.effects import Value
from worker.subscribe.stream_entry import Entry, Source

MARKS = "publish-worker:subscriber:"
DEAD = f"{STREAM}:dead:"
AGAIN = f"{STREAM}:again:"
INDEX = {Source.MAIN: 1, Source.AGAIN: 2}
"""Where the streams stand among the scripts' keys."""


def _consumer() -> str:
    return f"{socket.gethostname()}-{os.getpid()}-{uuid4().hex[:8]}"


@dataclass(frozen=True, kw_only=True)
class Group:
    """One consumer's part in a group."""

    name: str
    shared: bool
    """Several consumers read it at once; else one does, and others wait."""
    partition: tuple[int, int] | None
    """(i, n): only the events whose key falls in part i of n."""
    lease_seconds: float
    consumer: str = field(default_factory=_consumer)

    @property
    def keys(self) -> tuple[str, ...]:
        """As worker.subscribe.scripts wants them."""
        mark = MARKS + self.name
        life = self.lives + self.consumer if self.shared else f"{mark}:lease"
        return (STREAM, AGAIN + self.name, DEAD + self.name, mark, f"{mark}:tries", life)

    @property
    def lives(self) -> str:
        """The prefix of the consumers' signs of life."""
        return f"{MARKS}{self.name}:alive:"

    @property
    def lease_ms(self) -> int:
        """How long the lease lasts."""
        return int(self.lease_seconds * 1_000)

    def has(self, entry: Entry) -> bool:
        """Whether an event falls into this consumer's part."""
        if self.partition is None:
            return True
        index, count = self.partition
        return zlib.crc32(entry.key.encode()) % count == index

    def run(self, script: str, *arguments: Value) -> tuple[Value, ...]:
        """The command that runs a script."""
        mode = "shared" if self.shared else "alone"
        keys = self.keys
        return ("EVAL", script, len(keys), *keys, self.name, self.consumer, mode, *arguments)

    def read(self, source: Source, count: int, block_ms: int | None = None) -> tuple[Value, ...]:
        """The command that reads what is new to the group."""
        blocking = () if block_ms is None else ("BLOCK", max(block_ms, 1))
        key = self.keys[INDEX[source] - 1]
        who = ("XREADGROUP", "GROUP", self.name, self.consumer, "COUNT", count)
        return (*who, *blocking, "STREAMS", key, ">")

    def bury(self, entry: Entry, error: str) -> tuple[Value, ...]:
        """The command that sets an event aside."""
        known = ("position", entry.position, *self._epitaph(entry.raw, error, entry.tries))
        source = INDEX[entry.source]
        return self.run(scripts.BURY, source, entry.id, entry.position, *known)

    def bury_stranger(
        self, source: Source, entry_id: bytes, fields: Any, error: str
    ) -> tuple[Value, ...]:
        """The command that sets aside what is no event."""
        known = ("entry", entry_id, *self._epitaph(raw_of(fields), error, 0))
        return self.run(scripts.BURY, INDEX[source], entry_id, "", *known)

    def pass_stranger(self, before: str, entry_id: bytes, fields: Any) -> tuple[Value, ...]:
        """The command that passes over an entry which no outbox has recorded."""
        error = "it stands where the outbox has nothing"
        known = ("entry", entry_id, *self._epitaph(raw_of(fields), error, 0))
        return self.run(scripts.STRANGER, before, entry_id, *known)

    def _epitaph(self, raw: bytes, error: str, attempts: int) -> tuple[Value, ...]:
        told = ("event", raw, "error", error, "attempts", attempts, "consumer", self.consumer)
        return (*told, "failed_at", f"{time.time():.3f}")


def raw_of(fields: Any) -> bytes:
    """What an entry that is no event carries: the event field, or all that there is."""
    pairs = dict(zip(fields[::2], fields[1::2], strict=False))
    return pairs.get(b"event", b" ".join(fields))
