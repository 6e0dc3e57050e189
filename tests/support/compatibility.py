"""What of a schema's changes breaks those who read by it.

A consumer was written against a released schema, and events recorded under it are still there. So
all that it says stays as it is: fields, their types, formats and values, what is required. Fields
may be added, as long as none is required: events recorded before have them not.
"""

from collections.abc import Iterator
from typing import Any

Schema = dict[str, Any]

CORRECTED = {"local_time"}
"""Fields whose released schema was never true: it required an offset, and none was ever sent."""
ANNOTATIONS = {"title", "description", "default", "examples", "$defs", "$schema", "$id"}
LOOKED_INTO = {"properties", "required", "items", "anyOf", "$ref", "enum", "additionalProperties"}


def breaks(before: Schema, after: Schema) -> list[str]:
    """Every change that breaks a consumer, as a line for people."""
    return list(_compare(before, after, before, after, ""))


def _compare(
    before: Schema, after: Schema, before_root: Schema, after_root: Schema, place: str
) -> Iterator[str]:
    before, after = _resolved(before, before_root), _resolved(after, after_root)
    if before.get("type") == "integer" and "format" not in before:
        after = {name: part for name, part in after.items() if name != "format"}  # it says the size
    roots = (before_root, after_root)
    said = {name for name in (*before, *after) if name not in ANNOTATIONS | LOOKED_INTO}
    for name in sorted(said):
        if before.get(name) != after.get(name):
            yield f"{place or '/'}: {name} was {before.get(name)}, is {after.get(name)}"
            return  # what else differs then, follows from it
    values = [set(map(str, each.get("enum", ()))) for each in (before, after)]
    if values[0] != values[1]:
        yield f"{place}: the values were {sorted(values[0])}, are {sorted(values[1])}"
    yield from _required(before, after, place)
    for name, field in before.get("properties", {}).items():
        if name in after.get("properties", {}).keys() - CORRECTED:
            yield from _compare(field, after["properties"][name], *roots, f"{place}/{name}")
    for name in ("items", "additionalProperties"):
        if isinstance(before.get(name), dict) or isinstance(after.get(name), dict):
            yield from _compare(before.get(name) or {}, after.get(name) or {}, *roots, f"{place}/*")
    yield from _alternatives(before, after, *roots, place)
    if after.get("additionalProperties") is False is not before.get("additionalProperties"):
        yield f"{place or '/'}: no field may be added any more"


def _required(before: Schema, after: Schema, place: str) -> Iterator[str]:
    was, now = set(before.get("required", ())), set(after.get("required", ()))
    gone = before.get("properties", {}).keys() - after.get("properties", {}).keys()
    for name in sorted(gone):
        yield f"{place}/{name}: was removed"
    for name in sorted(was - now - gone):
        yield f"{place}/{name}: may be missing now"
    for name in sorted(now - was):
        yield f"{place}/{name}: is required now, and events recorded before have it not"


def _alternatives(
    before: Schema, after: Schema, before_root: Schema, after_root: Schema, place: str
) -> Iterator[str]:
    """Each alternative has its like among the others, and the other way round."""
    were, are = before.get("anyOf", []), after.get("anyOf", [])

    def matched(one: Schema, other: Schema) -> bool:
        return not list(_compare(one, other, before_root, after_root, place))

    if not (
        len(were) == len(are)
        and all(any(matched(one, other) for other in are) for one in were)
        and all(any(matched(one, other) for one in were) for other in are)
    ):
        yield f"{place}: the alternatives are others"


def _resolved(schema: Schema, root: Schema) -> Schema:
    while "$ref" in schema:
        found: Any = root
        for part in schema["$ref"].removeprefix("#/").split("/"):
            found = found[part]
        schema = found
    return schema
