"""The example of an event for the OpenAPI document."""

from typing import Any

from worker.api.documents.commands import COMMAND

EVENT: dict[str, Any] = {
    "specversion": "1.0",
    "id": "01a20cb5-5c38-747c-a12c-8c77571ea6d5",
    "source": "/workspaces/1",
    "type": "video.publish_rejected",
    "subject": "7",
    "time": "2026-11-24T08:39:01.854765Z",
    "datacontenttype": "application/json",
    "dataschema": "http://localhost:8000/api/v1/schemas/video.publish_rejected/1",
    "sequence": "1001",
    "partitionkey": "7",
    "correlationid": COMMAND["correlation_id"],
    "causationid": COMMAND["id"],
    "data": {
        "video_id": 7,
        "workspace_id": 1,
        "action": "publish",
        "reason": "generation_failed",
        "detail": "Generation has failed.",
        "first_publication": True,
        "trigger": "pipeline",
        "accepted_at": "2026-11-23T15:02:11.004871Z",
        "asked_for": None,
        "due_at": "2026-11-24T08:39:01.85Z",
        "finished_at": "2026-11-24T08:39:01.854765Z",
    },
}

FRAME = "id: 1001\nevent: video.publish_rejected\ndata: {…}\n\n"
