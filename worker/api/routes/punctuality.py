"""Punctuality over HTTP: lateness percentiles over a window."""

from typing import Annotated

from fastapi import Query

from schemas.punctuality import Punctuality
from worker.api.auth import Here, NeedsKey, Reader
from worker.api.documents import openapi
from worker.api.routing import Router
from worker.operations import punctuality

WEEK = 7 * 24 * 3600

router = Router(tags=["operations"], dependencies=[NeedsKey])


@router.get(
    "/punctuality",
    operation_id="punctuality",
    summary="See how late commands are carried out",
    responses=openapi.PUNCTUALITY_RESPONSES,
)
def measure(
    runtime: Here,
    caller: Reader,
    window: Annotated[
        int, Query(description="The last so many seconds.", ge=1, le=WEEK, examples=[3600])
    ] = 3600,
) -> Punctuality:
    """Give percentiles of the lateness, in milliseconds, of the commands that the key can see."""
    return punctuality.measure(runtime.engine, seconds=window, workspace_id=caller.workspace_id)
