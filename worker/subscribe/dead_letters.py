"""Dead letters of a group: list them, read one, delete one, and redrive them to that group."""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from redis import Redis

from schemas.values.page import Page, to_page
from worker.subscribe.group import DEAD, REDELIVERY
from worker.subscribe.scripts import REDRIVE, SOURCES

BATCH = 200
MAX_DIGITS = 19
"""Of a number that another program may have written."""
_ID = re.compile(r"(\d{1,20})-(\d{1,20})", re.ASCII)


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


@dataclass(frozen=True, slots=True, kw_only=True)
class Redriven:
    """The result of one step of a redrive."""

    events: int
    """How many are delivered again."""
    letters: int
    """How many it looked at."""
    last: str | None
    """The last letter that this step looked at. None: no further letter follows."""


def is_letter_id(text: str) -> bool:
    """Whether a text is the ID of an entry of a stream."""
    found = _ID.fullmatch(text)
    return found is not None and all(int(part) < 2**64 for part in found.groups())


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


def read_page(redis: Redis, group: str, before: str | None, limit: int) -> Page[DeadLetter]:
    """Return a page of a group's dead letters, the newest first; `before` is a letter's ID."""
    end = f"({before}" if before else "+"
    entries: Any = redis.xrevrange(DEAD + group, max=end, count=limit + 1)
    return to_page([_to_letter(*entry) for entry in entries], limit)


def read_letter(redis: Redis, group: str, letter_id: str) -> DeadLetter | None:
    """Return one dead letter. None: there is no such letter."""
    entries: Any = redis.xrange(DEAD + group, min=letter_id, max=letter_id)
    return _to_letter(*entries[0]) if entries else None


def find_last(redis: Redis, group: str) -> str | None:
    """Return the ID of a group's newest dead letter. None: it has none."""
    entries: Any = redis.xrevrange(DEAD + group, count=1)
    return entries[0][0].decode() if entries else None


def count_letters(redis: Redis, group: str) -> int:
    """Return the number of a group's dead letters, foreign entries included."""
    count: Any = redis.xlen(DEAD + group)
    return count


def delete_letter(redis: Redis, group: str, letter_id: str) -> bool:
    """Delete a dead letter for good; return whether there was one."""
    return bool(redis.xdel(DEAD + group, letter_id))


def redrive(redis: Redis, group: str, *letter_ids: bytes) -> int:
    """Deliver dead letters again, to that group alone, in one atomic step; return their number.

    A redriven event comes after the later events of its video that the group has handled meanwhile.
    """
    if not letter_ids:
        return 0
    script = redis.register_script(SOURCES[REDRIVE])
    return int(script(keys=[DEAD + group, REDELIVERY + group], args=letter_ids))


def redrive_position(redis: Redis, group: str, position: int) -> int:
    """Deliver the event at a position again; return how many dead letters had it."""
    found = [letter.id for letter in read_letters(redis, group) if letter.position == position]
    return redrive(redis, group, *found)


def redrive_next(
    redis: Redis, group: str, *, after: str | None = None, until: str | None = None
) -> Redriven:
    """Deliver the next dead letters again, the oldest first.

    It looks at the first 200 with IDs above `after`, up to `until` (None: without that bound).
    Foreign entries stay.
    """
    start = f"({after}" if after else "-"
    entries: Any = redis.xrange(DEAD + group, min=start, max=until or "+", count=BATCH)
    letters = [_to_letter(*entry) for entry in entries]
    count = redrive(redis, group, *(each.id for each in letters if each.position is not None))
    last = letters[-1].id.decode() if len(letters) == BATCH else None
    return Redriven(events=count, letters=len(letters), last=last)


def _to_letter(entry_id: bytes, fields: dict[bytes, bytes]) -> DeadLetter:
    """Read an entry, also one that another program has put there."""
    position = _to_number(fields.get(b"position", b""))
    return DeadLetter(
        id=entry_id,
        position=position if b"event" in fields else None,
        error=fields.get(b"error", b"").decode(errors="replace"),
        attempts=_to_number(fields.get(b"attempts", b"")) or 0,
        consumer=fields.get(b"consumer", b"").decode(errors="replace"),
        failed_at=_to_time(fields.get(b"failed_at", b"")),
        raw=fields.get(b"event", b""),
    )


def _to_number(text: bytes) -> int | None:
    return int(text) if text.isdigit() and len(text) <= MAX_DIGITS else None


def _to_time(text: bytes) -> datetime:
    try:
        return datetime.fromtimestamp(float(text or 0), UTC)
    except (ValueError, OverflowError, OSError):
        return datetime.fromtimestamp(0, UTC)
