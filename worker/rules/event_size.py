"""The size of events: none is longer than 64 KiB, whatever is in the platform's row."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from operator import attrgetter
from typing import Any, get_args, get_type_hints

from pydantic_core import to_json

from schemas.events import EventData, Person, VideoPublished

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


def _find_texts(kind: type) -> Iterator[str]:
    """Yield the names of a class's fields that hold a text."""
    for name, hint in get_type_hints(kind).items():
        if hint in (str, str | None):
            yield name
        elif hint is Person:
            yield from (f"{name}.{inner}" for inner in _find_texts(Person))


_READ_TEXTS: dict[type[EventData], Callable[[EventData], tuple[str | None, ...]]] = {
    kind: attrgetter(*_find_texts(kind)) for kind in get_args(EventData)
}


def limit_size(data: EventData) -> EventData:
    """Return an event's data, without its longest fields if it is longer than MAX_DATA."""
    if _BYTES_OF_CHARACTER * _count_characters(data) < MAX_DATA - _OTHER_BYTES or _fits(data):
        return data
    if isinstance(data, VideoPublished):
        data = _omit_longest(data)
    return data if _fits(data) else _cut_texts(data)


def _count_characters(data: EventData) -> int:
    """Return the length of all texts. A count costs an eighth of the JSON."""
    count = sum(map(len, filter(None, _READ_TEXTS[type(data)](data))))
    if isinstance(data, VideoPublished):
        count += sum(map(len, data.tags)) + len(data.tags)
    return count


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
