"""Dead letters of a group: list them, read one, delete one, and redrive them to that group."""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

from redis import Redis

from publish_worker_client.events.stream_entries import SUBSCRIBERS
from publish_worker_client.subscribe.group import DEAD, REDELIVERY
from publish_worker_client.subscribe.scripts import READ_DEAD_LETTERS, REDRIVE, SOURCES
from schemas.values.page import Page

BATCH = 200
BATCH_BYTES = 16 * 2**20
"""Of content that one step looks through: an entry may have any size."""
BEGINNING = 8_192
"""Bytes of a field that a list reads."""
FIELDS = tuple(b"position attempts failed_at consumer error traceback event".split())
"""In the order of read_dead_letters.lua."""
MAX_DIGITS = 19
"""Of a number that another program may have written."""
_ID = re.compile(r"(0|[1-9]\d{0,19})-(0|[1-9]\d{0,19})", re.ASCII)
_DATA = re.compile(rb',\s*"data"\s*:')


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
    traceback: str
    """Where the handler failed. Empty: the error has none, or an older client has put it there."""
    raw: bytes
    """The event, or its beginning."""
    size: int
    """Of the whole event, in bytes."""

    @property
    def event(self) -> dict[str, Any]:
        """The CloudEvents document; without `data` if `raw` is its beginning; empty if `raw` is
        not a JSON object.
        """
        is_whole = len(self.raw) == self.size
        try:
            document: Any = json.loads(self.raw if is_whole else _close(self.raw))
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
    """Whether a text is the ID of an entry of a stream, as Redis writes it."""
    found = _ID.fullmatch(text)
    return found is not None and text != "0-0" and all(int(part) < 2**64 for part in found.groups())


def read_letters(redis: Redis, group: str) -> Iterator[DeadLetter]:
    """Yield every dead letter of a group with its whole event, the oldest first."""
    for page in _read_pages(redis, group):
        first, last = page[0].id, page[-1].id
        entries: Any = redis.xrange(DEAD + group, min=first, max=last, count=len(page))
        yield from (_to_letter(*entry) for entry in entries)


def read_page(redis: Redis, group: str, before: str | None, limit: int) -> Page[DeadLetter]:
    """Return a page of a group's dead letters, the newest first, each with the beginning of its
    event; `before` is a letter's ID. It is shorter where letters are large.
    """
    start = f"({before}" if before else "+"
    return _read(redis, "XREVRANGE", group, start, "-", limit)


def read_letter(redis: Redis, group: str, letter_id: str) -> DeadLetter | None:
    """Return one dead letter with the beginning of its event. None: there is no such letter."""
    found = _read(redis, "XRANGE", group, letter_id, letter_id, 1).items
    return found[0] if found else None


def read_whole_letter(redis: Redis, group: str, letter_id: str) -> DeadLetter | None:
    """Return one dead letter with its whole event. None: there is no such letter."""
    entries: Any = redis.xrange(DEAD + group, min=letter_id, max=letter_id)
    return _to_letter(*entries[0]) if entries else None


def find_last(redis: Redis, group: str) -> str | None:
    """Return the ID of a group's newest dead letter. None: it has none."""
    found = read_page(redis, group, None, 1).items
    return found[0].id.decode() if found else None


def count_letters(redis: Redis, group: str) -> int:
    """Return the number of a group's dead letters, foreign entries included."""
    count: Any = redis.xlen(DEAD + group)
    return count


def delete_letter(redis: Redis, group: str, letter_id: str) -> bool:
    """Delete a dead letter for good; return whether there was one."""
    return bool(_take_out(redis, group, [letter_id.encode()], is_redriven=False))


def redrive(redis: Redis, group: str, *letter_ids: bytes) -> int:
    """Deliver dead letters again, to that group alone, in one atomic step; return their number.

    A redriven event comes after the later events of its video that the group has handled meanwhile.
    """
    return _take_out(redis, group, letter_ids, is_redriven=True)


def redrive_position(redis: Redis, group: str, position: int) -> int:
    """Deliver the event at a position again; return how many dead letters had it."""
    found = [
        letter.id
        for page in _read_pages(redis, group)
        for letter in page
        if letter.position == position
    ]
    return redrive(redis, group, *found)


def redrive_next(
    redis: Redis, group: str, *, after: str | None = None, until: str | None = None
) -> Redriven:
    """Deliver the next dead letters again, the oldest first.

    It looks at the first 200, fewer if they are large, with IDs above `after`, up to `until` (None:
    without that bound). Foreign entries stay.
    """
    page = _read_after(redis, group, after, until)
    count = redrive(redis, group, *(each.id for each in page.items if each.position is not None))
    last = page.next_after
    return Redriven(events=count, letters=len(page.items), last=last and last.id.decode())


def _read_pages(redis: Redis, group: str) -> Iterator[list[DeadLetter]]:
    """Yield the beginnings of a group's letters, the oldest first, in steps of bounded size."""
    after: str | None = None
    while (page := _read_after(redis, group, after, None)).items:
        yield list(page.items)
        if page.next_after is None:
            return
        after = page.next_after.id.decode()


def _read_after(redis: Redis, group: str, after: str | None, until: str | None) -> Page[DeadLetter]:
    if after == f"{2**64 - 1}-{2**64 - 1}":  # no ID is above it
        return Page()
    return _read(redis, "XRANGE", group, f"({after}" if after else "-", until or "+", BATCH)


def _read(
    redis: Redis, command: str, group: str, start: str, end: str, limit: int
) -> Page[DeadLetter]:
    """Read the beginnings of at most `limit` letters, fewer if they are large."""
    script = redis.register_script(SOURCES[READ_DEAD_LETTERS])
    arguments = [command, start, end, limit, BATCH_BYTES, BEGINNING]
    answer: Any = script(keys=[DEAD + group], args=arguments)
    found = [_to_beginning(*each) for each in answer[1]]
    return Page(found, found[-1] if answer[0] else None)


def _take_out(
    redis: Redis, group: str, letter_ids: list[bytes] | tuple[bytes, ...], *, is_redriven: bool
) -> int:
    """Take letters out, once, also if the client sends the command again after a lost answer."""
    if not letter_ids:
        return 0
    script = redis.register_script(SOURCES[REDRIVE])
    keys = [DEAD + group, REDELIVERY + group, f"{SUBSCRIBERS}{group}:redrive:{uuid4()}"]
    return int(script(keys=keys, args=[int(is_redriven), *letter_ids]))


def _to_letter(entry_id: bytes, fields: dict[bytes, bytes]) -> DeadLetter:
    """Read an entry, also one that another program has put there."""
    size = len(fields[b"event"]) if b"event" in fields else -1
    return _to_beginning(entry_id, size, *(fields.get(name, b"") for name in FIELDS))


def _to_beginning(entry_id: bytes, size: int, *values: bytes) -> DeadLetter:
    """Make a letter of the values of FIELDS, in their order."""
    field = dict(zip(FIELDS, values, strict=True))
    return DeadLetter(
        id=entry_id,
        position=_to_number(field[b"position"]) if size >= 0 else None,
        error=field[b"error"].decode(errors="replace"),
        attempts=_to_number(field[b"attempts"]) or 0,
        consumer=field[b"consumer"].decode(errors="replace"),
        failed_at=_to_time(field[b"failed_at"]),
        traceback=field[b"traceback"].decode(errors="replace"),
        raw=field[b"event"],
        size=max(size, 0),
    )


def _close(beginning: bytes) -> bytes:
    """Return the attributes of a document whose beginning this is, as a document."""
    return _DATA.split(beginning, maxsplit=1)[0] + b"}"


def _to_number(text: bytes) -> int | None:
    return int(text) if text.isdigit() and len(text) <= MAX_DIGITS else None


def _to_time(text: bytes) -> datetime:
    try:
        return datetime.fromtimestamp(float(text or 0), UTC)
    except (ValueError, OverflowError, OSError):
        return datetime.fromtimestamp(0, UTC)
