"""Bodies from a JSON Schema: each property absent, with a valid value, at a bound, or beyond it."""

from typing import Any

from hypothesis import strategies as st

Schema = dict[str, Any]

OTHER_TYPES: list[Any] = [None, True, 7, 2.5, "7", [], {}]
ZONES = ["Europe/Berlin", "UTC", "Etc/GMT+5", "localtime", "posix/UTC", "../UTC", "", 7]
URIS = ["https://cdn.example.com/a.png", "https://h/" + "x" * 1990, "https://h/" + "x" * 1991]
TIMES = [
    "2026-12-01T18:00:00Z",
    "2026-12-01t18:00z",
    "2026-12-01 18:00:00.1234567+15:59",
    "2026-12-01T18:00:00.123456789-23:59",
    "1900-01-01T00:00:00+23:59",
    "9000-12-31T23:59:59.999999999-23:59",
    "1899-12-31T23:59:59Z",
    "9001-01-01T00:00:00Z",
    "2027-02-29T00:00:00Z",
    "2028-02-29T00:00:00Z",
    "2026-04-31T00:00:00Z",
    "2026-12-01T24:00:00Z",
    "2026-12-01T18:00:00+24:00",
    "٢٠٢٦-12-01T18:00:00Z",
    "2026-12-01",
    1_800_000_000,
]
LOCAL_TIMES = [time.rstrip("Zz") if isinstance(time, str) else time for time in TIMES]


def bodies(schema: Schema, root: Schema) -> st.SearchStrategy[dict[str, Any]]:
    """Objects with some of the schema's properties; few have more than four."""
    fields = {name: values(part, root, name) for name, part in schema["properties"].items()}
    needed = {name: fields[name] for name in schema.get("required", ())}

    def build(names: list[str]) -> st.SearchStrategy[dict[str, Any]]:
        chosen = {name: fields[name] for name in names}
        return st.fixed_dictionaries({**chosen, **needed})

    return st.lists(st.sampled_from([*fields, *fields]), max_size=5, unique=True).flatmap(build)


def values(schema: Schema, root: Schema, name: str = "") -> st.SearchStrategy[Any]:
    """Values for one property."""
    schema = _resolve(schema, root)
    if name == "time_zone":
        return st.sampled_from(ZONES)
    if schema.get("format") == "uri":
        return st.sampled_from([*URIS, 7])
    if schema.get("type") == "null":
        return st.none()
    if "anyOf" in schema:
        return st.one_of(*(values(each, root, name) for each in schema["anyOf"]))
    return st.one_of(_typed(schema, root, name), _typed(schema, root, name), _others())


def _typed(schema: Schema, root: Schema, name: str) -> st.SearchStrategy[Any]:
    if "enum" in schema:
        return st.sampled_from(schema["enum"])
    if "properties" in schema:
        return bodies(schema, root)
    typed = {
        "integer": lambda: _integers(schema),
        "string": lambda: _text(schema, name),
        "boolean": st.booleans,
        "array": lambda: _lists(schema, root),
        "object": lambda: st.just({"id": 1}),
    }
    return typed.get(schema.get("type", ""), _others)()


def _integers(schema: Schema) -> st.SearchStrategy[Any]:
    low, high = schema.get("minimum", 0), schema.get("maximum", 9)
    return st.sampled_from([low - 1, low, float(low), low + 1, high, high + 1, low + 0.5])


def _lists(schema: Schema, root: Schema) -> st.SearchStrategy[Any]:
    most: int = schema.get("maxItems", 3)
    long = st.sampled_from([[1] * most, [1] * (most + 1)])
    return st.one_of(st.lists(values(schema["items"], root), max_size=2), long)


def _text(schema: Schema, name: str) -> st.SearchStrategy[Any]:
    if schema.get("format") == "date-time":
        return st.sampled_from(TIMES)
    if name.endswith("_local"):
        return st.sampled_from(LOCAL_TIMES)
    low, high = schema.get("minLength", 0), schema.get("maxLength", 100)
    sizes = [size for size in (low - 1, low, low + 1, high, high + 1) if size >= 0]
    return st.sampled_from([*("é" * size for size in sizes), "\x00", "a\nb"])


def _others() -> st.SearchStrategy[Any]:
    return st.sampled_from(OTHER_TYPES)


def _resolve(schema: Schema, root: Schema) -> Schema:
    while "$ref" in schema:
        found: Any = root
        for part in schema["$ref"].removeprefix("#/").split("/"):
            found = found[part]
        schema = {**found, **{key: value for key, value in schema.items() if key != "$ref"}}
    return schema
