"""What later versions may add, in the schemas of the documents: fields and values of answers, types
of events.

A client that is generated from closed schemas would fail at the first addition. Requests stay
closed: the API refuses a field or a value that it does not know.
"""

import re
from typing import Any

from publish_worker_client.events.data import EVENT_DATA
from publish_worker_client.events.names import EventType
from schemas.event_schemas import allow_additional_properties

Json = dict[str, Any]
ANY_TEXT: Json = {"type": "string"}


def open_envelope(envelope: Json) -> Json:
    """Return the envelope for any type: the message of a type says what its `data` is."""
    properties: Json = {
        **envelope["properties"],
        "type": {
            "title": "Type",
            "type": "string",
            "description": "What happened. Pass over types that you do not know.",
        },
        "data": {
            "title": "Data",
            "type": "object",
            "description": "Its shape depends on `type`, and on the version in `dataschema`.",
        },
    }
    always = [name for name, each in properties.items() if "default" in each]
    required = [name for name in properties if name in {*envelope["required"], *always}]
    return {**envelope, "properties": properties, "required": required}


def describe_each_event(envelope: Json) -> Json:
    """Return a schema for each type of event, and their open union, `PublisherEvent`.

    Each repeats the open envelope: generators of clients do not narrow a field of an `allOf`.
    """
    properties = envelope["properties"]
    data = {**properties["data"], "additionalProperties": True}
    events = {_to_name(kind): _describe_event(envelope, kind) for kind in EventType}
    choices = [{"$ref": f"#/components/schemas/{name}"} for name in (*events, "CloudEvent")]
    union = {
        "title": "PublisherEvent",
        "description": "An event of a known type and version, or another CloudEvent: pass over it.",
        "anyOf": choices,
    }
    opened = {**envelope, "properties": {**properties, "data": data}}
    return {"CloudEvent": opened, **events, "PublisherEvent": union}


def open_answers(document: Json) -> None:
    """Let the answers of an OpenAPI document have fields and values that are not listed."""
    schemas: Json = document["components"]["schemas"]
    requested = _find_requested(document)
    kept = {*requested, *(shape.__name__ for shape in EVENT_DATA.values())}
    for name in schemas.keys() - kept:
        schemas[name] = _open(schemas[name], schemas)


def _to_name(kind: EventType) -> str:
    """`video.publish_scheduled` as `VideoPublishScheduledEvent`."""
    return "".join(word.capitalize() for word in re.split(r"[._]", kind)) + "Event"


def _describe_event(envelope: Json, kind: EventType) -> Json:
    shape = EVENT_DATA[kind]
    own = {
        "type": {"title": "Type", "type": "string", "const": kind.value},
        "data": {"$ref": f"#/components/schemas/{shape.__name__}"},
    }
    return {
        **envelope,
        "title": _to_name(kind),
        "description": shape.__doc__,
        "properties": envelope["properties"] | own,
    }


def _find_requested(document: Json) -> set[str]:
    """Return the names of the schemas of requests."""
    operations = [each for path in document["paths"].values() for each in path.values()]
    found = set[str]()
    new = _find_names([[each.get("requestBody"), each.get("parameters")] for each in operations])
    while new:
        found |= new
        new = _find_names([document["components"]["schemas"][name] for name in new]) - found
    return found


def _find_names(schema: Any) -> set[str]:
    """Return the names of the schemas that this one refers to."""
    match schema:
        case {"$ref": str(reference)}:
            return {reference.rpartition("/")[2]}
        case {**parts}:
            return set[str]().union(*map(_find_names, parts.values()))
        case [*parts]:
            return set[str]().union(*map(_find_names, parts))
        case _:
            return set()


def _is_list(reference: str, schemas: Json) -> bool:
    """Whether a reference leads to a closed list of values."""
    return "enum" in schemas[reference.rpartition("/")[2]]


def _open(schema: Any, schemas: Json) -> Any:
    """Return a copy that allows other fields, and other values of closed lists."""
    match allow_additional_properties(schema):
        case {"$ref": str(reference), **others} if _is_list(reference, schemas):
            return {**others, "anyOf": [{"$ref": reference}, ANY_TEXT]}
        case {**parts}:
            return {name: _open(part, schemas) for name, part in parts.items()}
        case [*parts]:
            return [_open(part, schemas) for part in parts]
        case other:
            return other
