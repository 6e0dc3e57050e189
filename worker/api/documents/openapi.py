"""The OpenAPI document: the routes, an introduction, and the models that only answers refer to."""

from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from fastapi.params import Body
from fastapi.routing import APIRoute, iter_route_contexts
from pydantic.json_schema import models_json_schema

from schemas.event_schemas import allow_additional_properties
from schemas.events import CloudEvent
from schemas.json_schema import name_int64
from schemas.problem import FieldError, Problem
from schemas.video import Video
from worker.api.documents.open_schemas import describe_each_event, open_answers, open_envelope

DESCRIPTION = """
Enqueue publish commands, follow their state, and read the videos.

**Keys.** Send `Authorization: Bearer <API key>`; `publish-worker keys create` creates one. A key
sees only its workspace; a request for anything of another workspace is answered with `404`.

**Errors** are problems (RFC 9457): `application/problem+json`, with a `type` for programs, a
`detail` for people, and `errors` that point at each field.

**Limits.** To each API process, a key may send 2,000 requests a second (10,000 at once after a
pause) and have 200 in hand; a workspace twice as many. After `429` or `503`, wait for `Retry-After`
seconds. A body has at most 1 MiB, 50,000 values, 1,000 keys in an object, 10,000 elements in a list
and 50 levels, and arrives within 30 seconds.

**Later versions** add fields and values of answers, and types of events, without a new path: pass
over what you do not know. A request with a field or a value that is not known is refused.

**Correlation.** Send `X-Correlation-ID`, or read the generated one from the answer. It is in every
log line and in the event. A W3C `traceparent` is passed on to the event.
"""

TAGS: list[dict[str, Any]] = [
    {"name": "videos", "description": "Publish or unpublish one video, see the plan, read it."},
    {"name": "publish commands", "description": "Enqueue many at once; read and change each one."},
    {
        "name": "webhooks",
        "description": "Receivers of events over HTTP, by the Standard Webhooks specification.",
    },
    {"name": "events", "description": "Page by page, or as they happen (SSE)."},
    {"name": "addresses", "description": "Every URL that a video ever had."},
    {"name": "operations", "description": "Health, readiness, punctuality and schemas."},
]


def document(app: FastAPI) -> dict[str, Any]:
    """The OpenAPI 3.1 document of this application; generated once."""
    if app.openapi_schema is None:
        generated = get_openapi(
            title=app.title,
            version=app.version,
            summary=app.summary,
            description=app.description,
            routes=app.routes,
            tags=app.openapi_tags,
        )
        _, models = models_json_schema(
            [
                (Problem, "serialization"),
                (FieldError, "serialization"),
                (CloudEvent, "serialization"),
                (Video, "serialization"),
            ],
            ref_template="#/components/schemas/{model}",
        )
        schemas = allow_additional_properties(models["$defs"])
        schemas |= describe_each_event(open_envelope(schemas["CloudEvent"]))
        generated["components"]["schemas"].update(schemas)
        _write_examples(generated, app)
        _sort_sets(generated)
        open_answers(generated)
        app.openapi_schema = name_int64(generated)
    return app.openapi_schema or {}


def _write_examples(document: dict[str, Any], app: FastAPI) -> None:
    """Write the examples of requests and answers again: FastAPI has left out their nulls."""
    for route in iter_route_contexts(app.routes):
        if not isinstance(route.original_route, APIRoute) or not route.include_in_schema:
            continue
        for method in route.methods or ():
            operation = document["paths"][route.path_format][method.lower()]
            for status, answer in route.responses.items():
                for media_type, content in answer.get("content", {}).items():
                    written = operation["responses"][str(status)]["content"][media_type]
                    written["example"] = content["example"]
            body = route.body_field and route.body_field.field_info
            if isinstance(body, Body) and body.openapi_examples:
                [content] = operation["requestBody"]["content"].values()
                content["examples"] = body.openapi_examples


def _sort_sets(document: dict[str, Any]) -> None:
    """Sort what FastAPI keeps as sets, so that every process writes the same document."""
    for schema in document["components"]["schemas"].values():
        for names in schema.get("dependentRequired", {}).values():
            names.sort()
