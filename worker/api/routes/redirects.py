"""Old addresses: every URL that a video ever had leads to the one that it has now."""

from typing import Annotated

from fastapi import APIRouter, Path
from fastapi.responses import RedirectResponse

from worker.api.auth import Here
from worker.api.documents import openapi
from worker.api.problems import ApiProblem
from worker.api.video_resource import current_path
from worker.rules.custom_url import absolute_url, short_id_in

router = APIRouter(tags=["addresses"])


@router.get("/", include_in_schema=False)
async def home() -> RedirectResponse:
    """Lead whoever opens the API in a browser to its description."""
    return RedirectResponse("/docs")


@router.get(
    "/v/{path:path}",
    operation_id="redirect",
    summary="Find a published video by any of its URLs",
    status_code=308,
    response_class=RedirectResponse,
    responses=openapi.REDIRECT_RESPONSES,
)
def redirect(
    path: Annotated[
        str,
        Path(
            description="The path of any URL that the video ever had.",
            examples=["ai-research-studio/what-is-attention-k3v9x2a7qd5mp"],
        ),
    ],
    runtime: Here,
) -> RedirectResponse:
    """Redirect to the current URL; the short id at the end of the path is what counts."""
    short_id = short_id_in(path)
    current = current_path(runtime.engine, short_id) if short_id else None
    if current is None:
        detail = "No published video has this address."
        raise ApiProblem(status=404, kind="no-such-video", title="No such video", detail=detail)
    url = absolute_url(runtime.settings.public_base_url, current)
    # A 308 may be kept for ever, and the title may change again.
    return RedirectResponse(url, status_code=308, headers={"Cache-Control": "no-cache"})
