"""Examples of publish commands for the OpenAPI document."""

from typing import Any

COMMAND: dict[str, Any] = {
    "id": "019f3c1e-7a51-7c43-9d7e-0d5f8a2b6c11",
    "url": "http://localhost:8000/api/v1/publish-commands/019f3c1e-7a51-7c43-9d7e-0d5f8a2b6c11",
    "action": "publish",
    "video_id": 7,
    "workspace_id": 1,
    "state": "scheduled",
    "reason": None,
    "detail": None,
    "trigger": "api",
    "edits": None,
    "accepted_at": "2026-11-24T09:00:00Z",
    "publish_at": "2026-12-01T17:00:00Z",
    "publish_at_local": "2026-12-01T18:00:00",
    "unpublish_at": None,
    "unpublish_at_local": None,
    "time_zone": "Europe/Berlin",
    "fold": None,
    "publish_before": "2026-12-02T17:00:00Z",
    "expected_revision": None,
    "expected_etag": None,
    "counterpart": None,
    "due_at": "2026-12-01T17:00:00Z",
    "is_due": False,
    "fell_due_at": None,
    "claimed_at": None,
    "attempts": 0,
    "finished_at": None,
    "correlation_id": "8f1c0f0e-4d0a-4f3b-9d51-1f8b6a0c2e77",
    "requested_by": "019f3c1e-1f00-7c43-9d7e-0d5f8a2b6c01",
}

BULK_EXAMPLES: dict[str, Any] = {
    "three videos": {
        "summary": "Publish one at once and one at a time; unpublish one",
        "value": {
            "commands": [
                {"video_id": 7},
                {"video_id": 8, "publish_at": "2026-12-01T17:00:00Z"},
                {"video_id": 9, "action": "unpublish"},
            ]
        },
    },
}

CHANGE_EXAMPLES: dict[str, Any] = {
    "later": {
        "summary": "Another time",
        "value": {"publish_at": "2026-12-03T17:00:00Z", "publish_before": None},
    },
    "deadline": {
        "summary": "A later deadline",
        "value": {"publish_before": "2026-12-04T17:00:00Z"},
    },
}

RETRY_EXAMPLES: dict[str, Any] = {
    "same cause": {
        "summary": "All with one cause, twenty a second",
        "value": {"cause": "RaiseException", "per_second": 20},
    },
}

CAUSE: dict[str, Any] = {
    "cause": "RaiseException",
    "commands": 12,
    "last_finished_at": "2026-11-24T09:00:31Z",
    "example": COMMAND["id"],
}
