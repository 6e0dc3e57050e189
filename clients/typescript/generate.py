"""Writes the TypeScript types: events from docs/asyncapi.json, requests and answers from OpenAPI.

`make clients` runs it. A test compares both files with what the documents give.
"""

import json
import re
import textwrap
from collections.abc import Collection, Iterable
from pathlib import Path
from typing import Any

Json = dict[str, Any]

HERE = Path(__file__).parent
EVENTS, RESOURCES = HERE / "src" / "events.ts", HERE / "src" / "resources.ts"
ASYNCAPI = HERE.parent.parent / "docs" / "asyncapi.json"
RESOURCE_ROOTS = (
    "PublishCommand",
    "Video",
    "VideoInput",
    "GenerationReport",
    "GenerationState",
    "FieldError",
    "CommandOrder",
)
SHARED = ("Action", "Visibility")
"""Enumerations of events, which answers have too."""
OF_A_PAGE = ("before", "before_due_at", "limit")
"""Parameters of lists that an iteration sets itself."""
ANY_TEXT = "(string & {})"
"""Any other text; with `string` in its place, editors would not list the known ones."""
WIDTH = 98

EXACT = ("int64", "date-time")
"""Formats with a type of their own."""
SCALARS = {
    ("integer", "int64"): "Int64",
    ("integer", False): "number",
    ("string", "date-time"): "DateTime",
    **{(name, False): name for name in ("string", "number", "boolean", "null")},
}

HEADER = "// Written by generate.py from {source}: `make clients` writes it again.\n"
IMPORT = '\nimport type {{ {names} }} from "./events.ts";\n'
ALIASES = """
/** A whole number of up to 64 bits. `JSON.parse` keeps it exact up to 2^53 - 1. `subject` and
 * `sequence` have ids and positions as text, exact at any size. */
export type Int64 = number;

/** An RFC 3339 time with microseconds, such as `2026-12-24T18:00:00.000001Z`. */
export type DateTime = string;
"""
ENVELOPE = """
/** The envelope with the type and the data of one kind of event. */
export interface EventOf<Type extends string, Data extends object> extends CloudEvent {
  type: Type;
  data: Data;
}
"""
UNKNOWN = """
/** For types alone, not a value: a text that equals no known type, so that `event.type === "…"`
 * narrows. With `string` in its place, nothing would. */
declare enum Unlisted {
  Type = "a type that is not listed here",
}

/** The type of an event that is not listed here: any other text. */
export type UnknownType = Unlisted.Type;

/** An event of a type that was added after this client was made: pass over it. */
export type UnknownEvent = EventOf<UnknownType, { [field: string]: unknown }>;

/** An event of the feed or the stream. `switch (event.type)` narrows its `data`. */
export type PublisherEvent = KnownEvent | UnknownEvent;

/** The document that a webhook receives. A test has no `sequence`: it is in no feed. */
export type WebhookEvent = PublisherEvent | WebhookTestEvent;
"""


def main() -> None:
    """Write both files."""
    from worker.api.application import create_app  # noqa: PLC0415 - not needed for events

    EVENTS.write_text(write_events(json.loads(ASYNCAPI.read_text())))
    RESOURCES.write_text(write_resources(create_app().openapi()))


def write_events(document: Json) -> str:
    """Return events.ts: the shapes of data, an event for each type, and their open union."""
    messages, schemas = document["components"]["messages"], document["components"]["schemas"]
    types = list(document["channels"]["stream"]["messages"])
    shapes = [messages[name]["title"] for name in types]
    test, dropped = messages["webhook.test"], messages["dropped"]
    versions = "".join(f'  "{name}": "{_version(messages[name])}",\n' for name in types)
    return "".join(
        [
            HEADER.format(source="docs/asyncapi.json"),
            ALIASES,
            *_declare_all(schemas, ["CloudEvent", *shapes]),
            ENVELOPE,
            *(_declare_event(name, messages[name]) for name in types),
            _interface("WebhookTestEvent", {**test["payload"], "description": test["summary"]}),
            _interface("Dropped", {**dropped["payload"], "description": dropped["summary"]}),
            _union(
                "KnownEvent", "An event of a type that is listed here.", map(_event_name, types)
            ),
            UNKNOWN,
            "\n/** The version of `data` that is described here, for each type. */\n",
            'export const VERSIONS: Readonly<Record<KnownEvent["type"], string>> = {\n',
            f"{versions}}};\n",
        ]
    )


def write_resources(document: Json) -> str:
    """Return resources.ts: what the API answers, and the options of requests in camel case."""
    schemas = document["components"]["schemas"]
    body, video = schemas["PublishBody"]["properties"], schemas["VideoInput"]
    options = {
        "PublishOptions": {name: each for name, each in body.items() if _is_option(name, schemas)},
        "UnpublishOptions": schemas["UnpublishOptions"]["properties"],
        "RescheduleOptions": schemas["CommandChange"]["properties"],
        "CommandFilter": _list_filters(document),
    }
    request = {
        name: each for name, each in video["properties"].items() if len(each) > 1 or "$ref" in each
    }
    known = {**schemas, "VideoInput": {**video, "properties": request}}
    return "".join(
        [
            HEADER.format(source="the OpenAPI document"),
            IMPORT.format(names=", ".join((*SHARED, "DateTime", "Int64"))),
            *_declare_all(known, RESOURCE_ROOTS, without=SHARED, opened=_find_open(schemas)),
            *(_declare_options(name, fields) for name, fields in options.items()),
            _names({name for fields in options.values() for name in fields}),
        ]
    )


def _list_filters(document: Json) -> Json:
    """Return the parameters by which commands are listed, without those of a page."""
    parameters = document["paths"]["/api/v1/publish-commands"]["get"]["parameters"]
    return {
        each["name"]: {**each["schema"], "description": each.get("description", "")}
        for each in parameters
        if each["in"] == "query" and each["name"] not in OF_A_PAGE
    }


def _is_option(name: str, schemas: Json) -> bool:
    return name not in schemas["VideoInput"]["properties"]


def _find_open(schemas: Json) -> set[str]:
    """Return the enumerations of answers, which may grow. Those of events may not: see
    tests/contract/released.
    """
    opened = r'"anyOf": \[{"\$ref": "#/components/schemas/(\w+)"}, {"type": "string"}\]'
    return set(re.findall(opened, json.dumps(schemas)))


def _declare_all(
    schemas: Json,
    roots: Iterable[str],
    *,
    without: Iterable[str] = (),
    opened: Collection[str] = (),
) -> list[str]:
    """Declare the named schemas, and before each one those that it refers to."""
    declared = {str(name): "" for name in without}

    def declare(name: str) -> None:
        if name in declared or not _is_declared(schemas[name]):
            return
        for reference in re.findall(r'"#/components/schemas/(\w+)"', json.dumps(schemas[name])):
            declare(reference)
        declared[name] = _declare(name, schemas[name], opened)

    for root in roots:
        declare(root)
    return list(declared.values())


def _is_declared(schema: Json) -> bool:
    return "properties" in schema or "enum" in schema


def _declare(name: str, schema: Json, opened: Collection[str]) -> str:
    if "enum" in schema:
        others = [ANY_TEXT] if name in opened else []
        members = [*map(json.dumps, schema["enum"]), *others]
        return _union(name, schema.get("description", ""), members)
    return _interface(name, schema)


def _declare_event(name: str, message: Json) -> str:
    shape = message["title"]
    text = _jsdoc(message["summary"])
    return f'\n{text}export type {_event_name(name)} = EventOf<"{name}", {shape}>;\n'


def _declare_options(name: str, fields: Json) -> str:
    """Declare options in camel case. A time may be a Date, too."""
    lines = ["\n", f"export interface {name} {{\n"]
    for field, schema in fields.items():
        kind = _type(schema).replace("DateTime", "DateTime | Date")
        text = re.sub(r"`([a-z_]+)`", lambda found: f"`{_camel(found[1])}`", schema["description"])
        lines += [_jsdoc(text, "  "), f"  {_camel(field)}?: {kind} | undefined;\n"]
    return "".join([*lines, "}\n"])


def _names(fields: Iterable[str]) -> str:
    lines = "".join(f'  {_camel(name)}: "{name}",\n' for name in sorted(fields))
    about = "/** The API's name of each option. */\n"
    return (
        f"\n{about}export const OPTION_NAMES: Readonly<Record<string, string>> = {{\n{lines}}};\n"
    )


def _interface(name: str, schema: Json) -> str:
    required = schema.get("required", ())
    lines = ["\n", _jsdoc(schema.get("description", "")), f"export interface {name} {{\n"]
    for field, each in schema["properties"].items():
        mark = "" if field in required else "?"
        lines += [_jsdoc(each.get("description", ""), "  "), f"  {field}{mark}: {_type(each)};\n"]
    return "".join([*lines, "}\n"])


def _union(name: str, description: str, members: Iterable[str]) -> str:
    lines = "".join(f"\n  | {member}" for member in members)
    return f"\n{_jsdoc(description)}export type {name} ={lines};\n"


def _type(schema: Json) -> str:
    """The TypeScript type of a schema."""
    match schema:
        case {"$ref": reference}:
            name = str(reference).rpartition("/")[2]
            return "unknown" if name == "JsonValue" else name
        case {"anyOf": parts}:
            return _union_type(parts)
        case {"const": _} | {"enum": _}:
            return " | ".join(map(json.dumps, schema.get("enum", [schema.get("const")])))
        case {"type": "array", "items": items}:
            return f"{_type(items)}[]"
        case {"type": "object"}:
            return _object_type(schema)
        case _:
            return SCALARS[schema["type"], schema.get("format") in EXACT and schema["format"]]


def _union_type(parts: list[Json]) -> str:
    match parts:
        case [{"$ref": _} as listed, {"type": "string"}]:
            name = _type(listed)
            return f"{name} | {ANY_TEXT}" if name in SHARED else name
        case _:
            return " | ".join(map(_type, parts))


def _object_type(schema: Json) -> str:
    if "properties" not in schema:
        return "{ [field: string]: unknown }" if "additionalProperties" in schema else "object"
    required = schema.get("required", ())
    fields = (
        f"{name}{'' if name in required else '?'}: {_type(each)}"
        for name, each in schema["properties"].items()
    )
    return f"{{ {'; '.join(fields)} }}"


def _jsdoc(text: str, indent: str = "") -> str:
    """The comment before a declaration; none for an empty text."""
    if not text:
        return ""
    words = " ".join(text.replace("*/", "*\\/").split())
    lines = textwrap.wrap(words, WIDTH - len(indent) - 7, break_on_hyphens=False)
    return f"{indent}/** " + f"\n{indent} * ".join(lines) + " */\n"


def _version(message: Json) -> str:
    return message["externalDocs"]["url"].rpartition("/")[2]


def _event_name(kind: str) -> str:
    """`video.publish_scheduled` as `VideoPublishScheduledEvent`."""
    return "".join(word.capitalize() for word in re.split(r"[._]", kind)) + "Event"


def _camel(name: str) -> str:
    first, *rest = name.split("_")
    return first + "".join(word.capitalize() for word in rest)


if __name__ == "__main__":
    main()
