"""Events as a subscriber gets them: typed by `type` and `dataschema` where this code knows both.

Emitters are strict (schemas.events); a reader is not: a field that a newer emitter has added is
passed over, and a type or version that it does not know comes as plain JSON.
"""

from datetime import datetime
from functools import cache
from typing import Any

from pydantic import BaseModel, ConfigDict, TypeAdapter, ValidationError

from schemas.events import EVENT_DATA, SCHEMA_VERSION, EventData, EventType


class Event(BaseModel):
    """A CloudEvent; attributes that this code does not know are in `model_extra`."""

    model_config = ConfigDict(frozen=True, extra="allow", use_attribute_docstrings=True)

    id: str
    """Never changes over redeliveries."""
    source: str
    type: str
    """One of EventType, or what a newer emitter calls it."""
    subject: str | None = None
    """The video's id; of an event that is about no video, the endpoint's."""
    time: datetime | None = None
    dataschema: str | None = None
    sequence: str
    partitionkey: str | None = None
    """Events with the same one are in order."""
    videorevision: int | None = None
    correlationid: str | None = None
    causationid: str | None = None
    """The command's id."""
    traceparent: str | None = None
    data: EventData | dict[str, Any] | None = None
    """Typed, or plain JSON where the type or the version of its schema is not known here."""

    @property
    def position(self) -> int:
        """The place in the one order of the stream: 1, 2, 3 …, without gaps."""
        return int(self.sequence)


def received(document: dict[str, Any]) -> Event:
    """Read a CloudEvents document. Raises ValidationError if it is none."""
    envelope = {name: value for name, value in document.items() if name != "data"}
    event = Event.model_validate(envelope)
    data = document.get("data")
    return event.model_copy(update={"data": _typed(event, data)})


def _typed(event: Event, data: Any) -> Any:
    shape = _shape(event.type, (event.dataschema or "").rpartition("/")[2])
    if shape is None:
        return data
    try:
        return shape.validate_python(data, strict=False, extra="ignore")
    except ValidationError:
        return data


@cache
def _known() -> dict[tuple[str, str], TypeAdapter[EventData]]:
    return {(kind.value, str(SCHEMA_VERSION)): TypeAdapter(EVENT_DATA[kind]) for kind in EventType}


def _shape(kind: str, version: str) -> TypeAdapter[EventData] | None:
    return _known().get((kind, version))
