"""The JSON Schemas of events for consumers. They allow additional properties.

Within a version, fields may be added and nothing else changes (tests/contract/released), so a
consumer must accept unknown fields. Emitters reject them.
"""

from typing import Any

from pydantic import TypeAdapter

from publish_worker_client.events.data import EVENT_DATA
from publish_worker_client.events.names import EventType
from schemas.json_schema import name_int64


def event_schema(kind: EventType) -> dict[str, Any]:
    """Return the JSON Schema of the `data` of an event type."""
    return name_int64(allow_additional_properties(TypeAdapter(EVENT_DATA[kind]).json_schema()))


def allow_additional_properties(schema: Any) -> Any:
    """Return a copy of the schema without `additionalProperties: false`."""
    match schema:
        case {**parts}:
            return {
                name: allow_additional_properties(part)
                for name, part in parts.items()
                if not (name == "additionalProperties" and part is False)
            }
        case [*parts]:
            return [allow_additional_properties(part) for part in parts]
        case _:
            return schema
