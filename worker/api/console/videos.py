"""The page of videos: search, filter, and what would become of each."""

from typing import Any
from urllib.parse import urlencode

from fastapi import Request, Response
from pydantic import ValidationError

from schemas.plan import PlannedOutcome
from schemas.video_list import VideoFilter, VideoState
from worker.api.auth import CurrentRuntime
from worker.api.console.rendering import render
from worker.api.console.session import PATH, ConsoleRoute, SignedIn
from worker.api.problems import ApiProblem, ProblemKind
from worker.api.routing import Router
from worker.operations.video_list import list_videos

BAD_FILTER = ProblemKind("invalid-filter", 400, "The address of this page has a wrong filter.")
PLAN_STYLES = {
    PlannedOutcome.PUBLISHED: "good",
    PlannedOutcome.UNCHANGED: "",
    PlannedOutcome.WAITING: "calm",
    PlannedOutcome.REJECTED: "bad",
}

router = Router(route_class=ConsoleRoute)


@router.get(f"{PATH}/videos/")
def show_videos(request: Request, runtime: CurrentRuntime, session: SignedIn) -> Response:
    """Show a page of videos, the newest first."""
    wanted = read_filter(request)
    page = list_videos(
        runtime.engine, wanted, session.caller.workspace_id, runtime.settings.public_base_url
    )
    older = wanted.model_copy(update={"before": page.next_before}) if page.next_before else None
    return render(
        request,
        "videos.html",
        session,
        page=page,
        wanted=wanted,
        states=list(VideoState),
        plan_styles=PLAN_STYLES,
        older=older and to_query(older.model_dump(mode="json", exclude_defaults=True)),
    )


def read_filter(request: Request) -> VideoFilter:
    """Return the filter in the page's address; empty fields of the form are absent."""
    given = {name: value.strip() for name, value in request.query_params.items()}
    try:
        return VideoFilter.model_validate_strings({n: v for n, v in given.items() if v})
    except ValidationError as error:
        first = error.errors()[0]
        name = ".".join(map(str, first["loc"]))
        raise ApiProblem(BAD_FILTER, f"The filter {name} is not valid: {first['msg']}.") from None


def to_query(values: dict[str, Any]) -> str:
    """Return the query of a page's address."""
    return f"?{urlencode(values, doseq=True)}"
