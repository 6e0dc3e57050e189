"""The JSON Schemas of the events as consumers get them: open to fields that are added later.

Inside, unknown fields are refused, so that no misspelt one is lost. A consumer must not refuse
them: within a version fields are added, and nothing else changes (tests/contract/released).
"""

from typing import Any

from pydantic import TypeAdapter

from schemas.events import EVENT_DATA, EventType


def event_schema(kind: EventType) -> dict[str, Any]:
    """The schema of an event's `data`."""
    return opened(TypeAdapter(EVENT_DATA[kind]).json_schema())


def opened(schema: Any) -> Any:
    """The same schema without a word against further fields."""
    match schema:
        case {**parts}:
            return {
                name: opened(part)
                for name, part in parts.items()
                if not (name == "additionalProperties" and part is False)
            }
        case [*parts]:
            return [opened(part) for part in parts]
        case _:
            return schema
