"""Dead letters of a group: list them, and redrive them to that group."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from redis import Redis

from worker.subscribe.group import DEAD, REDELIVERY
from worker.subscribe.scripts import REDRIVE, SOURCES

BATCH = 200


@dataclass(frozen=True, kw_only=True)
class DeadLetter:
    """An event that failed `max_tries` times, or a foreign entry."""

    id: bytes
    """On the dead-letter stream."""
    position: int | None
    """None: a foreign entry, which cannot be redriven."""
    error: str
    attempts: int
    consumer: str
    failed_at: datetime
    raw: bytes

    @property
    def event(self) -> dict[str, Any]:
        """The CloudEvents document; empty if `raw` is not a JSON object."""
        try:
            document: Any = json.loads(self.raw)
        except (ValueError, RecursionError):
            return {}
        return document if isinstance(document, dict) else {}  # pyright: ignore[reportUnknownVariableType]


def read_letters(redis: Redis, group: str) -> Iterator[DeadLetter]:
    """Yield every dead letter of a group, the oldest first."""
    start = "-"
    while True:
        entries: Any = redis.xrange(DEAD + group, min=start, count=BATCH)
        for entry_id, fields in entries:
            yield _to_letter(entry_id, fields)
        if len(entries) < BATCH:
            return
        start = f"({entries[-1][0].decode()}"


def redrive(redis: Redis, group: str, *, position: int | None = None) -> int:
    """Deliver dead letters again, to that group alone; return their number.

    `position` picks one event (default None: all). A redriven event comes after the later events of
    its video that the group has handled meanwhile.
    """
    script = redis.register_script(SOURCES[REDRIVE])
    count = 0
    for letter in list(read_letters(redis, group)):
        if letter.position is not None and position in (None, letter.position):
            count += int(script(keys=[DEAD + group, REDELIVERY + group], args=[letter.id]))
    return count


def find_groups(redis: Redis) -> list[str]:
    """Return the groups that have dead letters."""
    client: Any = redis  # whose stubs do not say what a scan yields
    keys: list[bytes] = list(client.scan_iter(match=f"{DEAD}*", count=1_000))
    return sorted(key.decode().removeprefix(DEAD) for key in keys if redis.xlen(key))


def _to_letter(entry_id: bytes, fields: dict[bytes, bytes]) -> DeadLetter:
    text = {name.decode(): value for name, value in fields.items()}
    position = text.get("position", b"")
    return DeadLetter(
        id=entry_id,
        position=int(position) if position.isdigit() else None,
        error=text.get("error", b"").decode(errors="replace"),
        attempts=int(text.get("attempts") or 0),
        consumer=text.get("consumer", b"").decode(errors="replace"),
        failed_at=datetime.fromtimestamp(float(text.get("failed_at") or 0), UTC),
        raw=text.get("event", b""),
    )
