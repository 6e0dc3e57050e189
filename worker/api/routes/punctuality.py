"""The route of punctuality: percentiles of lateness over a period."""

from typing import Annotated

from fastapi import Query

from schemas.punctuality import Punctuality
from worker.api.auth import CurrentRuntime, ReadCaller, RequiresKey
from worker.api.documents.responses import KEY_PROBLEMS, success
from worker.api.routing import Router
from worker.operations import punctuality

WEEK = 7 * 24 * 3600

router = Router(tags=["operations"], dependencies=[RequiresKey], responses=KEY_PROBLEMS)

_SPREAD = {"median": 7.2, "p90": 11.9, "p95": 16.3, "p99": 41.0, "max": 88.4}
EXAMPLE = {
    "window_seconds": 3600,
    "since": "2026-11-24T08:00:00Z",
    "commands": 1204,
    "lateness": _SPREAD,
    "waiting": _SPREAD,
    "working": _SPREAD,
}


@router.get(
    "/punctuality",
    operation_id="punctuality",
    summary="See how late commands are carried out",
    responses=success(200, "The percentiles.", EXAMPLE),
)
def measure(
    runtime: CurrentRuntime,
    caller: ReadCaller,
    window: Annotated[
        int,
        Query(
            description="The length of the period that ends now, in seconds.",
            ge=1,
            le=WEEK,
            examples=[3600],
        ),
    ] = 3600,
) -> Punctuality:
    """Return percentiles of lateness, in milliseconds, of the commands that the key can see."""
    return punctuality.measure(runtime.engine, seconds=window, workspace_id=caller.workspace_id)
