"""The groups that have dead letters, with the number of each."""

import time
from dataclasses import dataclass
from typing import Any

from redis import Redis

from publish_worker_client.events.stream_entries import STREAM
from publish_worker_client.subscribe.group import DEAD

SCAN_SECONDS = 0.25
"""How long keys are looked through for groups that have left the stream."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DeadGroup:
    """A group with dead letters."""

    name: str
    letters: int
    """Foreign entries included."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DeadGroups:
    """The groups with dead letters, by name."""

    groups: list[DeadGroup]
    is_partial: bool
    """Whether Redis has too many keys to find the groups that have left the stream, too."""


def count_by_group(redis: Redis, scan_seconds: float = SCAN_SECONDS) -> DeadGroups:
    """Count the dead letters of each group.

    The groups of the stream are always found. Those that have left it are looked for among all keys
    of the server, for at most `scan_seconds`.
    """
    keys, is_partial = _scan_keys(redis, scan_seconds)
    ordered = sorted(keys | {f"{DEAD}{name}".encode() for name in _read_names(redis)})
    pipeline: Any = redis.pipeline(transaction=False)
    for key in ordered:
        pipeline.xlen(key)
    counts: list[Any] = pipeline.execute(raise_on_error=False)
    found = [
        DeadGroup(name=name, letters=count)
        for key, count in zip(ordered, counts, strict=True)
        if isinstance(count, int) and count and (name := _to_name(key))
    ]
    return DeadGroups(groups=found, is_partial=is_partial)


def _scan_keys(redis: Redis, seconds: float) -> tuple[set[bytes], bool]:
    """Return the keys of dead-letter streams, and whether keys were left unread."""
    client: Any = redis  # whose stubs do not say what a scan returns
    keys: set[bytes] = set()
    cursor, until = 0, time.monotonic() + seconds
    while True:
        cursor, found = client.scan(cursor, match=f"{DEAD}*", count=1_000)
        keys.update(found)
        if cursor == 0 or time.monotonic() > until:
            return keys, cursor != 0


def _read_names(redis: Redis) -> list[str]:
    """Return the groups of the stream; none if there is no stream."""
    if not redis.exists(STREAM):
        return []
    groups: Any = redis.xinfo_groups(STREAM)
    return [each["name"].decode(errors="replace") for each in groups]


def _to_name(key: bytes) -> str | None:
    """Return the group of a key. None: no subscriber has such a name."""
    try:
        return key.decode().removeprefix(DEAD)
    except UnicodeDecodeError:
        return None
