"""Redirects: from every URL that a video ever had to its current one."""

from typing import Annotated

from fastapi import APIRouter, Path
from fastapi.responses import RedirectResponse

from worker.api import problems
from worker.api.auth import CurrentRuntime, OptionalReader
from worker.api.documents.responses import HEAD_PROBLEMS, failures
from worker.api.problems import ApiProblem
from worker.api.routing import GuardedRoute
from worker.api.video_resource import find_current_path
from worker.rules.custom_url import find_short_id, to_absolute_url

router = APIRouter(tags=["addresses"], route_class=GuardedRoute)


@router.get("/", include_in_schema=False)
async def home() -> RedirectResponse:
    """Redirect a browser from the root to the console."""
    return RedirectResponse("/console/")


@router.get(
    "/v/{path:path}",
    operation_id="redirect",
    summary="Find a published video by any of its URLs",
    status_code=308,
    response_class=RedirectResponse,
    openapi_extra={"security": [{}]},  # or none
    responses=HEAD_PROBLEMS
    | failures(
        problems.NO_SUCH_VIDEO,
        problems.METHOD_NOT_ALLOWED,
        problems.INVALID_REQUEST,
        problems.DATABASE_AWAY,
        problems.OVERLOADED,
        problems.TOO_SLOW,
    ),
)
def redirect(
    path: Annotated[
        str,
        Path(
            description="The path of any URL that the video ever had.",
            examples=["ai-research-studio/what-is-attention-k3v9x2a7qd5mp"],
        ),
    ],
    runtime: CurrentRuntime,
    member: OptionalReader,
) -> RedirectResponse:
    """Redirect to the current URL; only the short id at the end of the path is compared.

    Without a key only public videos have an address; with a key of scope `read`, also the private,
    team and org videos of its workspace.
    """
    short_id = find_short_id(path)
    current = find_current_path(runtime.engine, short_id, member) if short_id else None
    if current is None:
        raise ApiProblem(problems.NO_SUCH_VIDEO, "No public video has this address.")
    url = to_absolute_url(runtime.settings.public_base_url, current)
    # Browsers may cache a 308 without limit, and the title may change again.
    return RedirectResponse(url, status_code=308, headers={"Cache-Control": "no-cache"})
