"""The size of events: none is longer than 64 KiB, whatever is in the platform's row."""

from dataclasses import replace
from operator import attrgetter
from typing import Any

from pydantic_core import to_json

from publish_worker_client.events.data import EventData, VideoPublished

MAX_DATA = 56 * 1024
"""Bytes of an event's `data`; the attributes around it need less than 8 KiB."""
OMITTABLE: dict[str, Any] = {
    "description": None,
    "tags": [],
    "thumbnail": None,
    "cover_image": None,
    "category": None,
    "subcategory": None,
}
"""Fields that an event may leave out, and what it has instead."""
MAX_CUT = 255
"""Characters of any other text, of an event that is still too long."""
_BYTES_OF_CHARACTER = 6
"""At most, in JSON: an escape sequence."""
_OTHER_BYTES = 4 * 1024
"""Of the names, numbers and times, at most."""


_read_texts = attrgetter(
    "title",
    "description",
    "custom_url",
    "url",
    "video",
    "thumbnail",
    "cover_image",
    "owner.username",
    "owner.full_name",
    "category",
    "subcategory",
)


def limit_size(data: EventData) -> EventData:
    """Return an event's data, without its longest fields if it is longer than MAX_DATA."""
    if _is_surely_short(data) or _fits(data):
        return data
    if isinstance(data, VideoPublished):
        data = _omit_longest(data)
    return data if _fits(data) else _cut_texts(data)


def _is_surely_short(data: EventData) -> bool:
    """Whether a publication's texts are short. To count them costs a fifth of the JSON."""
    if not isinstance(data, VideoPublished):
        return False
    texts: tuple[str | None, ...] = _read_texts(data)
    count = sum(map(len, filter(None, texts))) + sum(map(len, data.tags))
    return _BYTES_OF_CHARACTER * (count + len(data.tags)) < MAX_DATA - _OTHER_BYTES


def _omit_longest(data: VideoPublished) -> VideoPublished:
    """Leave out the longest fields, one after the other, until the rest fits."""
    for name in sorted(OMITTABLE, key=lambda name: -len(to_json(getattr(data, name)))):
        if not _fits(data):
            data = replace(data, **{name: OMITTABLE[name]}, omitted=[*data.omitted, name])
    return data


def _cut_texts(data: EventData) -> EventData:
    """Cut every text that is longer than a name is."""
    cut = {name: getattr(data, name)[:MAX_CUT] for name in data.__slots__ if _is_long(data, name)}
    if not isinstance(data, VideoPublished):
        return replace(data, **cut)
    owner = data.owner
    owner = replace(owner, username=owner.username[:MAX_CUT], full_name=owner.full_name[:MAX_CUT])
    return replace(data, **cut, owner=owner, omitted=[*data.omitted, *cut])


def _is_long(data: EventData, name: str) -> bool:
    value = getattr(data, name)
    return isinstance(value, str) and len(value) > MAX_CUT


def _fits(data: EventData) -> bool:
    return len(to_json(data)) <= MAX_DATA
