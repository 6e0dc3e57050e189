"""For those who run it: health, readiness, and the schemas of the events."""

from typing import Annotated, Any

from fastapi import Path, Response

from schemas import event_schemas
from schemas.events import SCHEMA_VERSION, EventType
from schemas.fields import Frozen
from worker.api.auth import Here
from worker.api.documents import asyncapi, openapi
from worker.api.problems import ApiProblem
from worker.api.routing import Router
from worker.events.cloud_event import schema_url
from worker.operations.health import examine

router = Router(tags=["operations"])


class Alive(Frozen):
    """The process answers."""

    status: str = "ok"


class PathPart(Frozen):
    """One part of the path from a request to the stream."""

    name: str
    ok: bool
    detail: str


class PathState(Frozen):
    """Whether the whole path works, part by part."""

    ready: bool
    checks: list[PathPart]


@router.get(
    "/healthz",
    operation_id="healthz",
    summary="Is this process alive?",
    responses=openapi.HEALTH_RESPONSES,
)
async def healthz() -> Alive:
    """Answer while the process can; says nothing of anything else."""
    return Alive()


@router.get(
    "/readyz",
    operation_id="readyz",
    summary="Does the whole path work?",
    responses={
        **openapi.READY_RESPONSES,
        503: {"model": PathState, **openapi.NOT_READY},
    },
)
def readyz(response: Response, runtime: Here) -> PathState:
    """Ask the database, Redis, the broker, and whether a worker consumes: `503` if one does not."""
    settings = runtime.settings
    checks = examine(runtime.engine, runtime.redis, settings.broker(), settings.canary_video_id)
    ready = all(check.ok for check in checks)
    if not ready:
        response.status_code = 503
    parts = [PathPart(name=check.name, ok=check.ok, detail=check.detail) for check in checks]
    return PathState(ready=ready, checks=parts)


@router.get(
    "/asyncapi.json",
    operation_id="asyncapi",
    summary="See how events come out and reports come in",
    responses=openapi.ASYNCAPI_RESPONSES,
)
def asyncapi_document(runtime: Here) -> dict[str, Any]:
    """Return the AsyncAPI 3.0 document: the channels, and every message on them."""
    return asyncapi.document(runtime.settings.public_base_url)


@router.get(
    "/api/v1/schemas/{event_type}/{version}",
    operation_id="event-schema",
    summary="See the JSON Schema of an event's data",
    responses=openapi.SCHEMA_RESPONSES,
)
def event_schema(
    event_type: Annotated[str, Path(description="As in the event.", examples=["video.published"])],
    version: Annotated[str, Path(description="As in `dataschema`.", examples=["1"])],
    runtime: Here,
) -> dict[str, Any]:
    """Return the schema that an event's `dataschema` leads to."""
    if event_type not in set(EventType) or version != str(SCHEMA_VERSION):
        detail = f"There is no schema of '{event_type}' in version '{version}'."
        raise ApiProblem(status=404, kind="no-such-schema", title="No such schema", detail=detail)
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": schema_url(runtime.settings.public_base_url, event_type),
        **event_schemas.event_schema(EventType(event_type)),
    }
