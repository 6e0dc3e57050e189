"""Tables of fields, from the JSON Schemas of the code."""

import json
from collections.abc import Callable
from typing import Any

Schema = dict[str, Any]
Linked = Callable[[str], str]
"""Returns the text for the name of another schema: a link, or the name alone."""
NAMES = {
    "date-time": "time",
    "uuid": "UUID",
    "uri": "URI",
    "int64": "integer",
    "string": "text",
}
"""Plain words for types and formats of JSON Schema."""


def describe_fields(schema: Schema, linked: Linked) -> str:
    """Return a table of an object's fields. A star marks those that it always has."""
    required = schema.get("required", ())
    rows = [
        f"| {_to_name(name, name in required)} | {to_type(field, linked)} | "
        f"{to_cell(field.get('description', ''))} |"
        for name, field in schema.get("properties", {}).items()
    ]
    return "\n".join(["| field | type | meaning |", "|---|---|---|", *rows])


def _to_name(name: str, is_required: bool) -> str:
    return f"`{name}`\\*" if is_required else f"`{name}`"


def to_type(schema: Schema, linked: Linked) -> str:
    """Return a schema's type in a few words."""
    match schema:
        case {"$ref": ref}:
            text = linked(ref.rpartition("/")[2])
        case {"const": value}:
            text = f"`{value}`"
        case {"enum": values}:
            text = ", ".join(f"`{value}`" for value in values)
        case {"anyOf": [{"$ref": ref}, {"type": "string"}]}:
            text = f"{linked(ref.rpartition('/')[2])} or a later value"
        case {"anyOf": choices} | {"oneOf": choices} | {"allOf": choices}:
            text = " or ".join(dict.fromkeys(to_type(each, linked) for each in choices))
        case {"type": "array", **rest}:
            text = f"list of {to_type(rest.get('items', {}), linked)}"
        case _:
            kind = str(schema.get("format") or schema.get("type", "any"))
            text = NAMES.get(kind, kind)
    return text


def to_cell(text: str) -> str:
    """Return a text as one line that a table can hold."""
    return " ".join(text.split()).replace("|", "\\|")


def to_example(title: str, value: Any) -> str:
    """Return a JSON value that a reader can open."""
    lines = ["```json", *json.dumps(value, indent=2, ensure_ascii=False).splitlines(), "```"]
    return "\n".join([f'??? example "{title}"', "", *(f"    {line}" for line in lines)])
