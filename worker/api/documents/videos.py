"""Examples of videos and of publishing one for the OpenAPI document."""

from typing import Any

from worker.api.documents.commands import COMMAND

PUBLISH_EXAMPLES: dict[str, Any] = {
    "as it is": {"summary": "Publish as it is (or send no body)", "value": {}},
    "at a time": {
        "summary": "At a time, and at most a day later",
        "value": {
            "publish_at": "2026-12-01T18:00:00+01:00",
            "publish_before": "2026-12-02T18:00:00+01:00",
        },
    },
    "for two weeks": {
        "summary": "For two weeks, in the local time of Berlin",
        "value": {
            "publish_at_local": "2026-12-01T18:00",
            "unpublish_at_local": "2026-12-15T18:00",
            "time_zone": "Europe/Berlin",
        },
    },
    "as reviewed": {
        "summary": "Only if the released revision is still the expected one",
        "value": {"expected_revision": 3},
    },
    "with edits": {
        "summary": "The documented request",
        "value": {
            "template": {"id": 1},
            "owner": {"id": 3},
            "title": "What is attention?",
            "workspace": 1,
            "visibility": "public",
            "tags": [4, 9],
        },
    },
}

UNPUBLISH_EXAMPLES: dict[str, Any] = {
    "at once": {"summary": "At once (or send no body)", "value": {}},
    "at a time": {
        "summary": "At a time",
        "value": {"unpublish_at": "2026-12-15T18:00:00+01:00"},
    },
}

PLAN: dict[str, Any] = {
    "video_id": 7,
    "would_be": "waiting",
    "readiness": {
        "gates": [
            {
                "name": "status",
                "verdict": "not_yet",
                "reason": "generation_in_progress",
                "detail": "Generation is in progress.",
            }
        ],
        "verdict": "not_yet",
        "reason": "generation_in_progress",
        "detail": "Generation is in progress.",
    },
    "is_draft": True,
    "custom_url": "ai-research-studio/what-is-attention-k3v9x2a7qd5mp",
    "url": "http://localhost:8000/ai-research-studio/what-is-attention-k3v9x2a7qd5mp",
    "revision": 0,
    "metrics": {
        "duration_seconds": 312,
        "section_count": 6,
        "script_words": 702,
        "words_per_minute": 135.0,
        "tag_count": 2,
        "generation_seconds": 1200,
        "views": 0,
        "unique_viewers": 0,
        "plays": 0,
        "watch_seconds": 0,
        "completion_rate": 0.0,
        "likes": 0,
        "bookmarks": 0,
        "shares": 0,
        "comments": 0,
        "computed_at": "2026-11-24T09:00:00Z",
    },
}

LISTED_PLAN: dict[str, Any] = {
    "would_be": "waiting",
    "reason": "generation_in_progress",
    "detail": "Generation is in progress.",
}

SUMMARY: dict[str, Any] = {
    "id": 7,
    "workspace_id": 1,
    "title": "What is attention?",
    "owner_username": "ada",
    "status": "in_progress",
    "internal_status": "rendering",
    "is_draft": True,
    "visibility": "public",
    "states": ["draft", "waiting"],
    "tags": ["attention"],
    "custom_url": None,
    "published_at": None,
    "next_command": {
        "id": COMMAND["id"],
        "action": "publish",
        "state": "waiting",
        "due_at": "2026-12-01T17:00:04Z",
    },
    "last_failure": None,
    "plan": LISTED_PLAN,
}

STORY: dict[str, Any] = {
    "video_id": 7,
    "workspace_id": 1,
    "title": "What is attention?",
    "owner_username": "ada",
    "status": "in_progress",
    "internal_status": "rendering",
    "is_draft": True,
    "plan": LISTED_PLAN,
    "generation": None,
    "custom_url": None,
    "url": None,
    "former_urls": [],
    "short_id": "k3v9x2a7qd5mp",
    "is_redirected": False,
    "revision": 0,
    "first_published_at": None,
    "published_at": None,
    "withdrawn_at": None,
    "metrics": None,
    "entries": [
        {
            "at": "2026-11-24T09:00:00Z",
            "kind": "video_created",
            "text": "The video was created.",
        }
    ],
    "omitted": [],
}
