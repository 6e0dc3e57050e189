"""One entry of a stream, as it came: whether it is an event of ours, and whose video's."""

import json
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from worker.events.redis_stream import FIELD

OURS = b'{"specversion": "1.0", "id": "'
"""How a document of the relay's begins; the attributes follow, `data` comes last."""
_KEY = b'"partitionkey": "'


class Source(StrEnum):
    """The stream that an entry came from."""

    MAIN = "main"
    AGAIN = "again"
    """The group's own: what was missing on the main one, and what was redriven."""


class NotAnEvent(Exception):
    """An entry that another program put there."""


@dataclass(slots=True, eq=False)
class Entry:
    """An event in the subscriber's hands."""

    source: Source
    id: bytes
    position: int
    raw: bytes
    redelivered: bool = False
    """Some consumer had it before, and did not acknowledge it."""
    tries: int = 0
    """Counted ones: see worker.subscribe.scripts."""
    _document: dict[str, Any] | None = field(default=None)

    @property
    def document(self) -> dict[str, Any]:
        """The CloudEvents document."""
        if self._document is None:
            self._document = json.loads(self.raw)
        return self._document  # pyright: ignore[reportReturnType]

    @property
    def key(self) -> str:
        """The partition key; found without parsing where the relay has written the document."""
        if self._document is None and self.raw.startswith(OURS):
            start = self.raw.find(_KEY) + len(_KEY)
            key = self.raw[start : self.raw.find(b'"', start)]
            if start >= len(_KEY) and b"\\" not in key:
                return key.decode()
        return str(self.document.get("partitionkey") or self.document.get("subject") or "")


def read(source: Source, entry_id: bytes, fields: list[bytes]) -> Entry:
    """Make sense of an entry. Raises NotAnEvent unless it is an event at its position."""
    if source is Source.MAIN:
        number, _, part = entry_id.partition(b"-")
        if len(fields) < 2 or fields[0] != FIELD.encode() or part != b"0":  # noqa: PLR2004 - a pair
            raise NotAnEvent("it is no entry of the relay's")
        raw, position = fields[1], number
    else:
        pairs = dict(zip(fields[::2], fields[1::2], strict=False))
        raw, position = pairs.get(FIELD.encode(), b""), pairs.get(b"position", b"")
    # The same test as in worker.subscribe.scripts, which cannot parse JSON for each entry.
    if b'"sequence": "%b"' % position not in raw and b'"sequence":"%b"' % position not in raw:
        raise NotAnEvent("its sequence is not its place on the stream")
    entry = Entry(source, entry_id, int(position), raw)
    if not raw.startswith(OURS) or not raw.endswith(b"}"):
        _check(entry)
    return entry


def _check(entry: Entry) -> None:
    """What the relay did not write is parsed at once, so that no handler meets what is no event."""
    try:
        document = entry.document
        ours = document["sequence"] == str(entry.position)
        strings = all(isinstance(document[name], str) for name in ("id", "type", "source"))
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise NotAnEvent("it is no CloudEvent") from error
    if not (ours and strings):
        raise NotAnEvent("it is no CloudEvent of ours")
