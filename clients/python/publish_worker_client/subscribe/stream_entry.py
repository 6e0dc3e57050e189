"""The parser of stream entries: whether an entry is an event, and of which video."""

import json
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from publish_worker_client.events.stream_entries import parse_entry, parse_event

OURS = b'{"specversion": "1.0", "id": "'
"""How each document of the relay begins; the attributes follow, `data` comes last."""
_KEY = b'"partitionkey": "'


RawEntry = tuple[bytes, list[bytes]]
"""An entry's ID, and its fields and values in turn, as Redis sends them."""


class Source(StrEnum):
    """The stream that an entry came from."""

    MAIN = "main"
    REDELIVERY = "redelivery"
    """The group's redelivery stream: events filled from the outbox, or redriven."""


class ForeignEntry(Exception):
    """An entry that another program put on the stream."""


@dataclass(slots=True, eq=False)
class Entry:
    """An event as it was read from a stream."""

    source: Source
    id: bytes
    position: int
    raw: bytes
    redelivered: bool = False
    """A consumer had it before, and did not acknowledge it."""
    tries: int = 0
    """Counted ones: see scripts.py."""
    _document: dict[str, Any] | None = field(default=None)

    @property
    def document(self) -> dict[str, Any]:
        """The CloudEvents document."""
        if self._document is None:
            self._document = json.loads(self.raw)
        return self._document  # pyright: ignore[reportReturnType]

    @property
    def key(self) -> str:
        """The partition key, found without parsing if the relay wrote the document; "" if the
        document is broken: then the handler's try fails, and not the reading.
        """
        if self._document is None and self.raw.startswith(OURS):
            start = self.raw.find(_KEY) + len(_KEY)
            key = self.raw[start : self.raw.find(b'"', start)]
            if start >= len(_KEY) and b"\\" not in key:
                return key.decode(errors="replace")
        try:
            return str(self.document.get("partitionkey") or self.document.get("subject") or "")
        except (ValueError, RecursionError):
            return ""


def to_entry(source: Source, entry_id: bytes, fields: list[bytes]) -> Entry:
    """Parse an entry. Raises ForeignEntry unless it is an event at its position."""
    pairs = dict(zip(fields[::2], fields[1::2], strict=False))
    on_main = entry_id if source is Source.MAIN else pairs.get(b"position", b"") + b"-0"
    if (parsed := parse_entry(on_main, pairs)) is None:
        raise ForeignEntry("the relay did not write this entry")
    position, raw = parsed
    if b'"sequence": "%d"' % position not in raw and b'"sequence":"%d"' % position not in raw:
        raise ForeignEntry("its sequence differs from its position on the stream")
    # A document that the relay did not write is parsed, so that no handler meets a broken one.
    is_relays = raw.startswith(OURS) and raw.endswith(b"}")
    if not is_relays and parse_event(position, raw) is None:
        raise ForeignEntry("it is not a CloudEvent of this project")
    return Entry(source, entry_id, position, raw)
