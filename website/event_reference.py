"""The section of each event type: its fields and an example, from the schemas in the code."""

from typing import Any

from publish_worker_client.events.data import EVENT_DATA
from publish_worker_client.events.names import EventType
from schemas.event_schemas import event_schema
from website.fields import describe_fields, to_example
from website.http_reference import to_paragraphs


def describe_events() -> str:
    """Return one section for each type of event."""
    first: dict[object, EventType] = {}
    for kind in EventType:
        first.setdefault(EVENT_DATA[kind], kind)
    return "\n\n".join(_describe(kind, first[EVENT_DATA[kind]]) for kind in EventType)


def _describe(kind: EventType, first: EventType) -> str:
    """Return the section of a type; `first` is the first type with the same fields."""
    if kind is not first:
        return f"### {kind}\n\nThe fields of `{first}`."
    schema = event_schema(kind)
    parts = [f"### {kind}", to_paragraphs(schema["description"]), describe_fields(schema, str)]
    for name, other in schema.get("$defs", {}).items():
        if other.get("properties"):
            parts += [f"`{name}` is an object:", describe_fields(other, str)]
        else:
            parts.append(
                f"`{name}` is one of {', '.join(f'`{value}`' for value in other['enum'])}."
            )
    return "\n\n".join([*parts, to_example("Example of `data`", _example(schema, schema))])


def _example(schema: dict[str, Any], whole: dict[str, Any]) -> Any:
    """Return a value that the schema allows: its own example, or one by its type."""
    match schema:
        case {"$ref": ref}:
            value = _example(whole["$defs"][ref.rpartition("/")[2]], whole)
        case {"examples": [first, *_]} | {"enum": [first, *_]} | {"const": first}:
            value = first
        case {"anyOf": [first, *_]} | {"oneOf": [first, *_]} | {"allOf": [first, *_]}:
            value = _example(first, whole)
        case {"properties": fields}:
            value = {name: _named(name, field, whole) for name, field in fields.items()}
        case _:
            value = BY_TYPE.get(str(schema.get("format") or schema.get("type")), "…")
    return value


def _named(name: str, field: dict[str, Any], whole: dict[str, Any]) -> Any:
    return EXAMPLES[name] if name in EXAMPLES else _example(field, whole)


BY_TYPE: dict[str, Any] = {
    "date-time": "2026-12-24T17:00:00.012345Z",
    "uuid": "019f3c1e-7a51-7c43-9d7e-0d5f8a2b6c11",
    "uri": "https://cdn.example.com/7.mp4",
    "integer": 1,
    "int64": 1,
    "number": 0.5,
    "boolean": True,
}
"""An example of each type that has none of its own."""

EXAMPLES: dict[str, Any] = {
    "video_id": 7,
    "title": "Attention, explained",
    "description": "How attention works, in five minutes.",
    "custom_url": "ai-research-studio/attention-explained-k3v9x2a7qd5mp",
    "url": "https://videos.example.com/ai-research-studio/attention-explained-k3v9x2a7qd5mp",
    "video": "https://cdn.example.com/7.mp4",
    "thumbnail": "https://cdn.example.com/7.jpg",
    "cover_image": None,
    "username": "ada",
    "full_name": "Ada Lovelace",
    "category": "Science",
    "subcategory": None,
    "tags": ["ai", "attention"],
    "duration": 312,
    "omitted": [],
    "local_time": "2026-12-24T18:00:00",
    "time_zone": "Europe/Berlin",
    "publish_before": None,
    "previously": None,
    "reason": "generation_failed",
    "detail": "Generation has failed.",
}
"""What a reader expects under these names."""
