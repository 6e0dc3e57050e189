"""Events as a subscriber receives them: typed if this version knows `type` and `dataschema`.

A reader ignores fields that a newer emitter added, and returns unknown types and versions as plain
JSON. Emitters use the strict classes in schemas.events.
"""

from datetime import datetime
from functools import cache
from typing import Any

from pydantic import BaseModel, ConfigDict, TypeAdapter, ValidationError

from publish_worker_client.events.data import EVENT_DATA, SCHEMA_VERSION, EventData
from publish_worker_client.events.data_field import read_data
from publish_worker_client.events.names import EventType


class Event(BaseModel):
    """A CloudEvent. Unknown attributes are in `model_extra`."""

    model_config = ConfigDict(frozen=True, extra="allow", use_attribute_docstrings=True)

    id: str
    """The same in every redelivery."""
    source: str
    type: str
    """One of EventType, or a newer type."""
    subject: str | None = None
    """The video's id. For `webhook.endpoint_disabled`: the endpoint's id."""
    time: datetime | None = None
    dataschema: str | None = None
    sequence: str = ""
    """The position as text. Empty: a webhook's test event, which is in no feed."""
    partitionkey: str | None = None
    """Events with the same key are in order."""
    videorevision: int | None = None
    correlationid: str | None = None
    causationid: str | None = None
    """The command's id."""
    traceparent: str | None = None
    data: EventData | dict[str, Any] | None = None
    """Typed, or plain JSON if the type or its schema version is unknown."""

    @property
    def position(self) -> int:
        """The place in the total order of events: 1, 2, 3 …, without gaps.

        Raises ValueError for a test event, which has none.
        """
        return int(self.sequence)


def from_document(document: dict[str, Any]) -> Event:
    """Parse a CloudEvents document. Raises ValueError if it is not valid.

    `data_base64` is decoded.
    """
    envelope = {name: value for name, value in document.items() if name != "data"}
    event = Event.model_validate(envelope)
    data = read_data(document) if "data_base64" in document else document.get("data")
    return event.model_copy(update={"data": _to_typed(event, data)})


def _to_typed(event: Event, data: Any) -> Any:
    shape = _adapter(event.type, (event.dataschema or "").rpartition("/")[2])
    if shape is None:
        return data
    try:
        return shape.validate_python(data, strict=False, extra="ignore")
    except ValidationError:
        return data


@cache
def _adapters() -> dict[tuple[str, str], TypeAdapter[EventData]]:
    return {(kind.value, str(SCHEMA_VERSION)): TypeAdapter(EVENT_DATA[kind]) for kind in EventType}


def _adapter(kind: str, version: str) -> TypeAdapter[EventData] | None:
    return _adapters().get((kind, version))
