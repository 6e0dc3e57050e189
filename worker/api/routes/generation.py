"""Generation over HTTP: a pipeline reports how far a video is."""

from typing import Annotated, Any

from fastapi import Body

from schemas.generation import GenerationReport, GenerationState
from worker.api.auth import Here, NeedsKey, Publisher
from worker.api.documents import openapi
from worker.api.enqueue_request import JsonOnly, VideoId
from worker.api.problems import ApiProblem, no_such_video
from worker.api.routing import Router
from worker.generation.apply import ReportRefused, apply_reports

router = Router(tags=["videos"], dependencies=[NeedsKey])

EXAMPLES: dict[str, Any] = {
    "progressed": {
        "summary": "On its way",
        "value": {
            "kind": "progressed",
            "time": "2026-11-24T09:00:00Z",
            "internal_status": "rendering",
            "generation_progress": 60,
        },
    },
    "completed": {
        "summary": "Done: the rendered file, and its length in seconds",
        "value": {
            "kind": "completed",
            "time": "2026-11-24T09:20:00Z",
            "video": "https://cdn.example.com/videos/7.mp4",
            "duration": 312,
        },
    },
    "generated again": {
        "summary": "The second generation has failed",
        "value": {"kind": "failed", "run": 2, "detail": "The voice-over has no sound."},
    },
}
STATE: dict[str, Any] = {
    "video_id": 7,
    "applied": True,
    "reason": None,
    "run": 1,
    "status": "completed",
    "internal_status": "completed",
    "generation_progress": 100,
    "is_regenerating": False,
}
_REFUSED: dict[str, Any] = {
    "type": "/problems/report-refused",
    "title": "Report refused",
    "status": 409,
    "detail": "The platform's table refuses it: value too long for type character varying(200)",
    "instance": "/api/v1/videos/7/generation",
    "correlation_id": openapi.COMMAND["correlation_id"],
}
# What every route that changes something may answer; only this one adds a state and a refusal.
RESPONSES: openapi.Responses = {
    **{
        status: response
        for status, response in openapi.PUBLISH_RESPONSES.items()
        if isinstance(status, int) and status >= 400  # noqa: PLR2004 - errors, by HTTP's own count
    },
    200: {
        "description": "Heard, or known already: where the video's generation stands.",
        "content": {"application/json": {"example": STATE}},
    },
    409: {
        "description": "Report refused",
        "content": {
            "application/problem+json": {
                "schema": {"$ref": "#/components/schemas/Problem"},
                "example": _REFUSED,
            }
        },
    },
}


@router.post(
    "/videos/{video_id}/generation",
    operation_id="generation-report",
    summary="Report how far generation is",
    dependencies=[JsonOnly],
    responses=RESPONSES,
)
def report(
    video_id: VideoId,
    runtime: Here,
    caller: Publisher,
    body: Annotated[GenerationReport, Body(openapi_examples=EXAMPLES)],
) -> GenerationState:
    """Hear a report; what waits for the video goes out at once when generation has ended.

    Reports may come late, twice and out of order: one that has been overtaken changes nothing, and
    is answered `200` with `applied: false`. For pipelines that have no HTTP, the same comes in on
    the Redis stream `video.generation`.
    """
    try:
        [state] = apply_reports(runtime.engine, [(video_id, body)], caller.workspace_id)
    except ReportRefused as error:
        raise _refused(error) from error
    if state is None:
        raise no_such_video(video_id)
    runtime.waker.wake()
    return state


def _refused(error: ReportRefused) -> ApiProblem:
    words = str(error).partition("\n")[0]
    return ApiProblem(
        status=409,
        kind="report-refused",
        title="Report refused",
        detail=f"The platform's table refuses it: {words}",
    )
