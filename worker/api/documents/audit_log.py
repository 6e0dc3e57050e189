"""Examples of the audit log for the OpenAPI document."""

from typing import Any

ENTRY: dict[str, Any] = {
    "id": "019f3c1e-8000-7c43-9d7e-0d5f8a2b6c21",
    "at": "2026-11-24T09:05:00Z",
    "actor": "api_key",
    "key_id": "019f3c1e-1f00-7c43-9d7e-0d5f8a2b6c01",
    "person_id": None,
    "actor_name": "editors",
    "door": "api",
    "client": "203.0.113.7",
    "correlation_id": "8f1c0f0e-4d0a-4f3b-9d51-1f8b6a0c2e77",
    "action": "command.cancel",
    "subject": "command",
    "subject_id": "019f3c1e-7a51-7c43-9d7e-0d5f8a2b6c11",
    "workspace_id": 1,
    "outcome": "ok",
    "problem": None,
    "details": {"action": "publish", "video_id": 7},
}
