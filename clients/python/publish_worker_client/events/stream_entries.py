"""The entries of the stream `video.events`: the document of each, and whether it is an event."""

from collections.abc import Mapping
from typing import Any

from pydantic_core import from_json

STREAM = "video.events"
SUBSCRIBERS = "publish-worker:subscriber:"
"""The prefix of the keys of subscribers, followed by a group's name."""
FIELD = "event"
"""The field of an entry that holds the CloudEvents document."""
STRINGS = ("id", "type", "source", "subject")
"""Attributes that every event has, as text in one line."""
POSITION_DIGITS = 19
"""Of the greatest position that PostgreSQL stores."""


def parse_entry(entry_id: bytes, fields: Mapping[bytes, bytes]) -> tuple[int, bytes] | None:
    """Return an entry's position and CloudEvents document; None if another program wrote it."""
    position, _, part = entry_id.partition(b"-")
    document = fields.get(FIELD.encode())
    has_position = position.isdigit() and len(position) <= POSITION_DIGITS and part == b"0"
    if not has_position or document is None:
        return None
    return int(position), document


def parse_event(position: int, document: bytes) -> dict[str, Any] | None:
    """Return a document, parsed; None if it is not an event of this project at this position."""
    try:
        event: dict[str, Any] = from_json(document)
        texts = [event[name] for name in STRINGS]
        has_texts = all(isinstance(text, str) and text.isprintable() for text in texts)
        is_ours = has_texts and event["sequence"] == str(position)
    except (ValueError, KeyError, TypeError):
        return None
    return event if is_ours else None
