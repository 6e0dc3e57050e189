"""Routes for operators and tools: health, readiness, AsyncAPI, event schemas."""

from typing import Annotated, Any

from fastapi import Path, Response

from publish_worker_client.events.cloud_event import schema_url
from publish_worker_client.events.data import SCHEMA_VERSION
from publish_worker_client.events.names import EventType
from schemas import event_schemas
from schemas.fields import Frozen
from worker.api import problems
from worker.api.auth import CurrentRuntime
from worker.api.documents import asyncapi
from worker.api.documents.responses import HEAD_PROBLEMS, failures, success
from worker.api.problems import ApiProblem
from worker.api.routing import Router
from worker.operations.health import examine

router = Router(tags=["operations"])

JSON_SCHEMA = "https://json-schema.org/draft/2020-12/schema"


class Alive(Frozen):
    """The process answers."""

    status: str = "ok"


class PathPart(Frozen):
    """One part of the path from a request to the stream."""

    name: str
    ok: bool
    detail: str
    remedy: str = ""
    """What to do; empty if it works."""


def _readiness_example(name: str, detail: str, remedy: str = "") -> dict[str, Any]:
    check = {"name": name, "ok": not remedy, "detail": detail, "remedy": remedy}
    return {"ready": check["ok"], "checks": [check]}


class PathState(Frozen):
    """Whether the whole path works, part by part."""

    ready: bool
    checks: list[PathPart]


WORKS = _readiness_example(
    "worker",
    "2 workers (4 processes) on queues publish, webhooks; last batch 0.4 s ago. "
    "Ran a sweep 0.4 s ago.",
)
BROKEN = _readiness_example(
    "queues",
    "No worker serves the queue publish.",
    "Start a worker: celery -A worker.app worker -Q publish "
    "(without -Q a worker serves every queue).",
)
READINESS = success(200, "The whole path works.", WORKS) | success(
    503, "A part of the path does not work.", BROKEN
)
READINESS[503]["model"] = PathState


@router.get(
    "/healthz",
    operation_id="healthz",
    summary="Is this process alive?",
    responses=success(200, "The process is alive.", {"status": "ok"}),
)
async def healthz() -> Alive:
    """Answer while the process is alive; no other part is checked."""
    return Alive()


@router.get(
    "/readyz",
    operation_id="readyz",
    summary="Does the whole path work?",
    responses=READINESS,
)
def readyz(response: Response, runtime: CurrentRuntime) -> PathState:
    """Check every part, from the database to the stream: `503` if one does not work."""
    settings = runtime.settings
    checks = examine(
        runtime.engine,
        runtime.redis,
        settings.broker(),
        settings.canary_video_id,
        amqp_url=settings.outlet_amqp_url(),
    )
    ready = all(check.ok for check in checks)
    if not ready:
        response.status_code = 503
    parts = [
        PathPart(
            name=check.name, ok=check.ok, detail=check.public_detail, remedy=check.public_remedy
        )
        for check in checks
    ]
    return PathState(ready=ready, checks=parts)


@router.get(
    "/asyncapi.json",
    operation_id="asyncapi",
    summary="Read the AsyncAPI document",
    responses=HEAD_PROBLEMS
    | failures(problems.METHOD_NOT_ALLOWED)
    | success(200, "The document.", {"asyncapi": "3.0.0", "channels": {}}),
)
def asyncapi_document(runtime: CurrentRuntime) -> dict[str, Any]:
    """Return the AsyncAPI 3.0 document: all channels of events and reports, and their messages."""
    return asyncapi.document(runtime.settings.public_base_url)


@router.get(
    "/api/v1/schemas/{event_type}/{version}",
    operation_id="event-schema",
    summary="Read the JSON Schema of an event's data",
    responses=HEAD_PROBLEMS
    | failures(problems.NO_SUCH_SCHEMA, problems.METHOD_NOT_ALLOWED, problems.INVALID_REQUEST)
    | success(200, "The JSON Schema.", {"$schema": JSON_SCHEMA, "type": "object"}),
)
def event_schema(
    event_type: Annotated[str, Path(description="As in the event.", examples=["video.published"])],
    version: Annotated[str, Path(description="As in `dataschema`.", examples=["1"])],
    runtime: CurrentRuntime,
) -> dict[str, Any]:
    """Return the schema that the attribute `dataschema` of an event refers to."""
    if event_type not in set(EventType) or version != str(SCHEMA_VERSION):
        detail = f"There is no schema of '{event_type}' in version '{version}'."
        raise ApiProblem(problems.NO_SUCH_SCHEMA, detail)
    return {
        "$schema": JSON_SCHEMA,
        "$id": schema_url(runtime.settings.public_base_url, event_type),
        **event_schemas.event_schema(EventType(event_type)),
    }
