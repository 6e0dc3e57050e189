"""The pages of the HTTP API, from the OpenAPI document that the API itself serves."""

from functools import cache
from typing import Any

from website.fields import describe_fields, to_cell, to_example, to_type
from worker.api.application import create_app

COMMON = ("401", "405", "414", "422", "429", "431", "503")
"""Answers that every route may give: the page describes them once."""

ENVELOPE = "CloudEvent"
"""The object that has the fields which events of every type have."""


@cache
def read_document() -> dict[str, Any]:
    """Return the OpenAPI document with the addresses that are the settings' defaults."""
    return create_app().openapi()


def describe_routes() -> str:
    """Return all routes by their tags: parameters, body, answers, an example."""
    document = read_document()
    found: dict[str, list[str]] = {tag["name"]: [] for tag in document["tags"]}
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            found[operation["tags"][0]].append(_describe_route(method, path, operation))
    return "\n\n".join(
        "\n\n".join([f"## {tag['name'].capitalize()}", tag["description"], *found[tag["name"]]])
        for tag in document["tags"]
    )


def describe_objects() -> str:
    """Return the fields of each object, and the values of each closed list."""
    schemas = read_document()["components"]["schemas"]
    return "\n\n".join(_describe_object(name, schemas[name]) for name in sorted(schemas))


def _describe_route(method: str, path: str, operation: dict[str, Any]) -> str:
    parts = [
        f"### {operation['summary']}",
        f"```http\n{method.upper()} {path}\n```",
        operation.get("description", ""),
        _describe_parameters(operation.get("parameters", [])),
        _describe_body(operation.get("requestBody")),
        _describe_answers(operation["responses"]),
    ]
    return "\n\n".join(part for part in parts if part)


def _describe_parameters(parameters: list[dict[str, Any]]) -> str:
    rows = [
        f"| `{each['name']}` | {each['in']} | "
        f"{_to_type(each['schema']).removesuffix(' or null')} | "
        f"{to_cell(each.get('description', ''))} |"
        for each in parameters
    ]
    return (
        "\n".join(["| parameter | in | type | meaning |", "|---|---|---|---|", *rows])
        if rows
        else ""
    )


def _describe_body(body: dict[str, Any] | None) -> str:
    if body is None:
        return ""
    [content] = body["content"].values()
    shown = [
        to_example(example.get("summary", name), example["value"])
        for name, example in content.get("examples", {}).items()
    ]
    need = "" if body.get("required") else " (may be left out)"
    return "\n\n".join([f"**Body**: {_to_type(content['schema'])}{need}", *shown])


def _describe_answers(responses: dict[str, Any]) -> str:
    rows: list[str] = []
    shown = ""
    for status, answer in sorted(responses.items()):
        none: tuple[str, dict[str, Any]] = ("", {})
        kind, content = next(iter(answer.get("content", {}).items()), none)
        if status in COMMON and status != "503":
            continue
        what = (
            f"{_to_type(content['schema'])} "
            if "problem" not in kind and content.get("schema")
            else ""
        )
        rows.append(f"| {status} | {what}| {to_cell(answer['description'])} |")
        example = content.get("example")
        if status < "3" and example is not None and not isinstance(example, str):
            shown += "\n\n" + to_example(f"Answer {status}", example)
    return "\n".join(["| answer | body | when |", "|---|---|---|", *rows]) + shown


def _describe_object(name: str, schema: dict[str, Any]) -> str:
    values = to_type(schema, link) if "enum" in schema or "anyOf" in schema else ""
    shown = _without_envelope(name, schema)
    fields = describe_fields(shown, link) if shown.get("properties") else ""
    text = to_paragraphs(schema.get("description", ""))
    return "\n\n".join(part for part in (f"## {name}", text, values, fields) if part)


def _without_envelope(name: str, schema: dict[str, Any]) -> dict[str, Any]:
    """Return the schema of one type of event with its own fields; others as they are."""
    fields = schema.get("properties", {})
    if name == ENVELOPE or not fields.keys() >= {"specversion", "data"}:
        return schema
    return {**schema, "properties": {each: fields[each] for each in ("type", "data")}}


def to_paragraphs(text: str) -> str:
    """Return a docstring as Markdown: lines of a paragraph joined."""
    return "\n\n".join(" ".join(each.split()) for each in text.split("\n\n"))


def _to_type(schema: dict[str, Any]) -> str:
    return to_type(schema, link)


def link(name: str) -> str:
    """Return a link to an object's section."""
    return f"[{name}](http-objects.md#{name.lower()})"
