"""The route by which a pipeline reports the progress of generation."""

from typing import Annotated, Any

from fastapi import Body

from schemas.generation import GenerationReport, GenerationState
from worker.api import problems
from worker.api.auth import CurrentRuntime, PublishCaller, RequiresKey
from worker.api.documents.responses import BODY_PROBLEMS, KEY_PROBLEMS, failures, success
from worker.api.enqueue_request import LimitedErrors, RequiresJson, VideoId
from worker.api.problems import no_such_video
from worker.api.routing import Router
from worker.generation.apply import apply_reports

router = Router(tags=["videos"], dependencies=[RequiresKey], responses=KEY_PROBLEMS)

EXAMPLES: dict[str, Any] = {
    "progressed": {
        "summary": "In progress",
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


@router.post(
    "/videos/{video_id}/generation",
    operation_id="generation-report",
    summary="Report the progress of generation",
    dependencies=[RequiresJson],
    responses=success(200, "The state of the video's generation after this report.", STATE)
    | failures(*BODY_PROBLEMS, problems.NO_SUCH_VIDEO, problems.REPORT_REFUSED),
)
def report(
    video_id: VideoId,
    runtime: CurrentRuntime,
    caller: PublishCaller,
    body: Annotated[GenerationReport, LimitedErrors, Body(openapi_examples=EXAMPLES)],
) -> GenerationState:
    """Apply a report; when generation has ended, commands that wait for the video fall due.

    Reports may arrive late, twice and out of order. An outdated report changes nothing; its answer
    is `200` with `applied: false`. Pipelines may send the same reports on the Redis stream
    `video.generation`.
    """
    [state] = apply_reports(runtime.engine, [(video_id, body)], caller.workspace_id)
    if state is None:
        raise no_such_video(video_id)
    runtime.waker.wake()
    return state
