"""JSON Schema: what the types alone do not say, such as conditions between fields."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from pydantic import GetJsonSchemaHandler
from pydantic_core import CoreSchema

Schema = dict[str, Any]

INT32_MAX, INT64_MAX = 2**31 - 1, 2**63 - 1


@dataclass(frozen=True, slots=True)
class Described:
    """Metadata of a type: keywords of its schema."""

    keywords: Schema = field(hash=False)

    def __get_pydantic_json_schema__(
        self, core_schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> Schema:
        return {**handler(core_schema), **self.keywords}


def is_given(name: str) -> Schema:
    """The condition that a field is there and not null."""
    return {"required": [name], "properties": {name: {"not": {"type": "null"}}}}


def any_of(conditions: Iterable[Schema]) -> Schema:
    """The condition that one of these holds."""
    return {"anyOf": list(conditions)}


def all_of(*conditions: Schema) -> Schema:
    """The condition that each of these holds."""
    return {"allOf": list(conditions)}


def none_of(conditions: Iterable[Schema]) -> Schema:
    """The condition that none of these holds. Generators of clients ignore it."""
    return {"not": any_of(conditions)}


def drop_null_defaults(schema: Schema) -> None:
    """Drop each `default: null`: a generated client would send it."""
    for each in schema.get("properties", {}).values():
        if each.get("default", ...) is None:
            del each["default"]


def name_int64(schema: Any) -> Any:
    """Return a copy in which each integer that may exceed 32 bits has the format `int64`.

    Without it, generated clients in Java and Go read an id into 32 bits. FastAPI writes bounds as
    floats, which round the largest: they are whole again.
    """
    match schema:
        case {"type": "integer", **keywords}:
            bounds = {
                name: min(int(keywords[name]), INT64_MAX)
                for name in ("minimum", "maximum")
                if name in keywords
            }
            is_large = bounds.get("maximum", INT64_MAX) > INT32_MAX
            return {**schema, **bounds, **({"format": "int64"} if is_large else {})}
        case {**parts}:
            return {name: name_int64(part) for name, part in parts.items()}
        case [*parts]:
            return list(map(name_int64, parts))
        case _:
            return schema
