"""Examples of webhook endpoints and deliveries for the OpenAPI document."""

from typing import Any

ENDPOINT: dict[str, Any] = {
    "id": "019f3c2a-11d0-7e55-8a0b-6c4f1d2e9b70",
    "workspace_id": 1,
    "url": "https://hooks.example.com/videos",
    "description": "The search index.",
    "event_types": ["video.published", "video.unpublished"],
    "state": "enabled",
    "disabled_reason": None,
    "failing_since": None,
    "previous_secret_until": None,
    "created_at": "2026-11-24T09:00:00Z",
}

ENDPOINT_WITH_SECRET = {
    **ENDPOINT,
    "secret": "whsec_VGhpcyBpcyBhbiBleGFtcGxlIGFuZCBubyBzZWNyZXQ=",
}

ATTEMPT: dict[str, Any] = {
    "started_at": "2026-11-24T09:00:01Z",
    "duration_ms": 312,
    "status": 503,
    "error": None,
    "answer": "Back in a minute.",
}

DELIVERY: dict[str, Any] = {
    "id": "019f3c2b-5c1e-7b0a-9f3d-2a8e4c6d1f05",
    "endpoint_id": ENDPOINT["id"],
    "position": 1204,
    "event_id": "019f3c2b-5b90-7d21-b6aa-8e1c3f5a7d94",
    "event_type": "video.published",
    "video_id": 7,
    "state": "pending",
    "attempts": 1,
    "due_at": "2026-11-24T09:00:06Z",
    "created_at": "2026-11-24T09:00:01Z",
    "finished_at": None,
}

NEW_ENDPOINT_EXAMPLES: dict[str, Any] = {
    "some types": {
        "summary": "Only events of publishing and unpublishing",
        "value": {
            "url": ENDPOINT["url"],
            "event_types": ENDPOINT["event_types"],
            "description": ENDPOINT["description"],
        },
    },
    "everything": {
        "summary": "All events of one workspace, with a key that sees several",
        "value": {"url": ENDPOINT["url"], "workspace_id": 1},
    },
}

ENDPOINT_CHANGE_EXAMPLES: dict[str, Any] = {
    "enable": {"summary": "Enable it again", "value": {"state": "enabled"}},
    "all types": {"summary": "All event types", "value": {"event_types": None}},
    "move": {
        "summary": "Another address",
        "value": {"url": "https://hooks.example.com/v2/videos", "description": "Moved."},
    },
}

REPLAY_EXAMPLES: dict[str, Any] = {
    "since": {"summary": "All events from a position on", "value": {"since_position": 1200}},
    "failed": {"summary": "All failed deliveries", "value": {"failed": True}},
}

DELIVERY_WITH_ATTEMPTS = {
    **DELIVERY,
    "log": [{"id": "019f3c2b-5d02-7f6e-8b1c-4e7a9d0c3f26", **ATTEMPT}],
}
