"""What the OpenAPI document says beyond the routes themselves: errors, headers, examples."""

from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from pydantic.json_schema import models_json_schema

from schemas.event_schemas import opened
from schemas.events import CloudEvent
from schemas.problem import FieldError, Problem
from schemas.video import Video

DESCRIPTION = """
Enqueue publish commands, see what becomes of them, and see the videos.

**Keys.** Send `Authorization: Bearer <API key>`; `publish-worker keys create` makes one. A key sees
only its workspace: what lies elsewhere does not exist for it.

**Errors** are problems (RFC 9457): `application/problem+json`, with a `type` for programs, a
`detail` for people, and `errors` that point at each field.

**Correlation.** Send `X-Correlation-ID`, or take the one that comes back: it is in every log line
and in the event. A W3C `traceparent` is handed on.
"""

TAGS: list[dict[str, Any]] = [
    {"name": "videos", "description": "Publish one, see the plan, see the whole resource."},
    {"name": "publish commands", "description": "Many at once, and each one afterwards."},
    {
        "name": "webhooks",
        "description": "Who is told over HTTP, by the Standard Webhooks specification.",
    },
    {"name": "events", "description": "Page by page, or as they happen (SSE)."},
    {"name": "addresses", "description": "Every URL that a video ever had."},
    {"name": "operations", "description": "For those who run it. No key needed."},
]

Responses = dict[int | str, dict[str, Any]]

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
    "fell_due_at": None,
    "claimed_at": None,
    "attempts": 0,
    "finished_at": None,
    "correlation_id": "8f1c0f0e-4d0a-4f3b-9d51-1f8b6a0c2e77",
}

PUBLISH_EXAMPLES: dict[str, Any] = {
    "as it is": {"summary": "Publish as it is (or send no body)", "value": None},
    "at a time": {
        "summary": "At a time, and not a day later",
        "value": {
            "publish_at": "2026-12-01T18:00:00+01:00",
            "publish_before": "2026-12-02T18:00:00+01:00",
        },
    },
    "for two weeks": {
        "summary": "A window, by the clocks of Berlin",
        "value": {
            "publish_at_local": "2026-12-01T18:00",
            "unpublish_at_local": "2026-12-15T18:00",
            "time_zone": "Europe/Berlin",
        },
    },
    "as reviewed": {
        "summary": "Only if nobody published another version since",
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
    "at once": {"summary": "At once (or send no body)", "value": None},
    "at a time": {
        "summary": "At a time",
        "value": {"unpublish_at": "2026-12-15T18:00:00+01:00"},
    },
}
BULK_EXAMPLES: dict[str, Any] = {
    "three videos": {
        "summary": "One at once, one at a time, and one withdrawn",
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
        "summary": "Another latest moment",
        "value": {"publish_before": "2026-12-04T17:00:00Z"},
    },
}
RETRY_EXAMPLES: dict[str, Any] = {
    "same cause": {
        "summary": "All that one error ended, twenty a second",
        "value": {"cause": "RaiseException", "per_second": 20},
    },
}

PLAN: dict[str, Any] = {
    "video_id": 7,
    "outcome": "waiting",
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


def _answered(description: str, example: dict[str, Any]) -> dict[str, Any]:
    return {"description": description, "content": {"application/json": {"example": example}}}


def _checked(name: str, detail: str, *, ok: bool) -> dict[str, Any]:
    return {"ready": ok, "checks": [{"name": name, "ok": ok, "detail": detail}]}


def _problem(status: int, kind: str, title: str, detail: str, **more: Any) -> dict[str, Any]:
    example = {
        "type": f"/problems/{kind}",
        "title": title,
        "status": status,
        "detail": detail,
        "instance": "/api/v1/videos/7/publish/",
        "correlation_id": COMMAND["correlation_id"],
        **more,
    }
    schema = {"$ref": "#/components/schemas/Problem"}
    return {
        "description": title,
        "content": {"application/problem+json": {"schema": schema, "example": example}},
    }


def _header(description: str, example: str) -> dict[str, Any]:
    return {"description": description, "schema": {"type": "string"}, "example": example}


_MALFORMED = _problem(400, "malformed-json", "Malformed JSON", "The body is no JSON.")
_NO_KEY = _problem(401, "not-authenticated", "Not authenticated", "Send an API key.")
_SCOPE = _problem(403, "scope-too-low", "Scope too low", "This needs the scope 'publish'.")
_UNKNOWN = _problem(404, "no-such-video", "No such video", "There is no video 7.")
_NO_COMMAND = _problem(404, "no-such-command", "No such command", "There is no such command.")
_METHOD = _problem(405, "method-not-allowed", "Method not allowed", "It has other methods.")
_ENDED = _problem(409, "command-ended", "Command ended", "The command ended as 'published'.")
_REJECTED = _problem(
    409,
    "publish-rejected",
    "Publish rejected",
    "Generation has failed. (generation_failed)",
    command=COMMAND["url"],
)
_CHANGED = _problem(
    412, "video-changed", "Video changed", "Video 7 was changed since the version expected."
)
_TOO_LARGE = _problem(413, "body-too-large", "Body too large", "Larger than 1048576 bytes.")
_NOT_JSON = _problem(415, "not-json", "Not JSON", "Send `Content-Type: application/json`.")
_INVALID = _problem(
    422,
    "invalid-request",
    "Invalid request",
    "Nothing was done. To be corrected: /title.",
    errors=[{"pointer": "/title", "code": "missing", "detail": "Field required"}],
)
_AWAY = _problem(503, "database-away", "Database away", "Try again in a few seconds.")
_AWAY["headers"] = {"Retry-After": _header("Seconds to wait.", "5")}

_READ: Responses = {401: _NO_KEY, 405: _METHOD, 503: _AWAY}
_WRITE: Responses = {**_READ, 400: _MALFORMED, 403: _SCOPE, 413: _TOO_LARGE, 415: _NOT_JSON}
_REPLAYED = _header("`true` if the Idempotency-Key stood for these commands already.", "true")

READ_RESPONSES: Responses = {**_READ, 404: _UNKNOWN, 422: _INVALID}
PLAN_RESPONSES: Responses = {**READ_RESPONSES, 200: _answered("The plan.", PLAN)}
COMMAND_RESPONSES: Responses = {
    **READ_RESPONSES,
    200: _answered("The command as it stands.", COMMAND),
    404: _NO_COMMAND,
}
LIST_RESPONSES: Responses = {
    **_READ,
    200: _answered("A page of commands.", {"commands": [COMMAND], "next": None}),
    422: _INVALID,
}
CHANGE_RESPONSES: Responses = {
    **_WRITE,
    200: _answered("The command as it stands now.", COMMAND),
    404: _NO_COMMAND,
    409: _ENDED,
    422: _INVALID,
}
CAUSES_RESPONSES: Responses = {
    **_READ,
    200: _answered(
        "The causes.",
        {
            "causes": [
                {
                    "cause": "RaiseException",
                    "commands": 12,
                    "last_finished_at": "2026-11-24T09:00:31Z",
                    "example": COMMAND["id"],
                }
            ]
        },
    ),
    422: _INVALID,
}
RETRY_RESPONSES: Responses = {
    **_WRITE,
    200: _answered(
        "What was set going.", {"commands": 12, "last_due_at": "2026-11-24T09:05:00.55Z"}
    ),
    422: _INVALID,
}
_SPREAD = {"median": 7.2, "p90": 11.9, "p95": 16.3, "p99": 41.0, "max": 88.4}
PUNCTUALITY_RESPONSES: Responses = {
    **_READ,
    200: _answered(
        "The percentiles.",
        {
            "window_seconds": 3600,
            "since": "2026-11-24T08:00:00Z",
            "commands": 1204,
            "lateness": _SPREAD,
            "waiting": _SPREAD,
            "working": _SPREAD,
        },
    ),
    422: _INVALID,
}
HEALTH_RESPONSES: Responses = {200: _answered("It is.", {"status": "ok"})}
READY_RESPONSES: Responses = {
    200: _answered("It does.", _checked("worker", "Ran a sweep 0.4 s ago.", ok=True))
}
NOT_READY = _answered(
    "A part of the path does not work.", _checked("redis", "ConnectionError", ok=False)
)
ASYNCAPI_RESPONSES: Responses = {
    200: _answered("The document.", {"asyncapi": "3.0.0", "channels": {}}),
    405: _METHOD,
}
SCHEMA_RESPONSES: Responses = {
    200: _answered(
        "The JSON Schema.",
        {"$schema": "https://json-schema.org/draft/2020-12/schema", "type": "object"},
    ),
    404: _problem(404, "no-such-schema", "No such schema", "There is no such schema."),
    405: _METHOD,
    422: _INVALID,
}
REDIRECT_RESPONSES: Responses = {404: _UNKNOWN, 405: _METHOD, 422: _INVALID, 503: _AWAY}
PUBLISH_RESPONSES: Responses = {
    **_WRITE,
    200: {
        "model": Video,
        "description": "Published within the seconds that `Prefer: wait` gave: the whole Video.",
        "headers": {
            "ETag": _header("Changes with the video.", '"3f5a9c0d1e2b4a6f8c7d"'),
            "Preference-Applied": _header("The preference that was heeded.", "wait=10"),
        },
    },
    202: {
        "description": "Accepted: it will be carried out once the video is ready.",
        "content": {"application/json": {"example": COMMAND}},
        "headers": {
            "Location": _header("Where the command can be asked for.", COMMAND["url"]),
            "Idempotency-Replayed": _REPLAYED,
            "Preference-Applied": _header("The preference that was heeded.", "wait=10"),
        },
    },
    404: _UNKNOWN,
    409: _REJECTED,
    412: _CHANGED,
    422: _INVALID,
}
UNPUBLISH_RESPONSES: Responses = {
    **PUBLISH_RESPONSES,
    200: {
        **PUBLISH_RESPONSES[200],
        "description": "Withdrawn within the seconds that `Prefer: wait` gave: the whole Video.",
    },
}
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
_GONE = _problem(410, "position-gone", "Position gone", "The oldest one still kept is 1000.")
_AHEAD = _problem(409, "position-ahead", "Position ahead", "The last one is 1000.")
_KEY_IN_URL = _problem(403, "key-in-url", "Key in URL", "In a URL only a key of scope 'read'.")
FEED_RESPONSES: Responses = {
    **_READ,
    200: {
        "description": "Events in order, none twice; maybe none, although more follows.",
        "content": {
            "application/cloudevents-batch+json": {
                "schema": {"type": "array", "items": {"$ref": "#/components/schemas/CloudEvent"}},
                "example": [EVENT],
            }
        },
        "headers": {
            "Link": _header(
                "The page behind this one (RFC 8288): it is there even while nothing is on it.",
                '<http://localhost:8000/api/v1/events?after=1001>; rel="next"',
            ),
            "Events-Next-After": _header("The same as a number: say it as `after`.", "1001"),
            "Events-Last": _header(
                "The last position given out; equal to the former: no more now.", "1001"
            ),
            "Preference-Applied": _header("The preference that was heeded.", "wait=10"),
        },
    },
    409: _AHEAD,
    410: _GONE,
    422: _INVALID,
}
STREAM_RESPONSES: Responses = {
    **_READ,
    200: {
        "description": "Events as they happen, until either side ends it.",
        "content": {
            "text/event-stream": {
                "example": "id: 1001\nevent: video.publish_rejected\ndata: {…}\n\n",
            }
        },
    },
    403: _KEY_IN_URL,
    409: _AHEAD,
    410: _GONE,
    422: _INVALID,
}
BULK_RESPONSES: Responses = {
    **_WRITE,
    412: _CHANGED,
    202: {
        "description": "All accepted.",
        "content": {"application/json": {"example": {"commands": [COMMAND], "next": None}}},
        "headers": {"Idempotency-Replayed": _REPLAYED},
    },
    422: _INVALID,
}

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
_ENDPOINT_WITH_SECRET = {
    **ENDPOINT,
    "secret": "whsec_VGhpcyBpcyBhbiBleGFtcGxlIGFuZCBubyBzZWNyZXQ=",
}
_ATTEMPT: dict[str, Any] = {
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
        "summary": "Told of what goes out and what is withdrawn",
        "value": {
            "url": ENDPOINT["url"],
            "event_types": ENDPOINT["event_types"],
            "description": ENDPOINT["description"],
        },
    },
    "everything": {
        "summary": "Told of everything in one workspace, with a key that sees several",
        "value": {"url": ENDPOINT["url"], "workspace_id": 1},
    },
}
ENDPOINT_CHANGE_EXAMPLES: dict[str, Any] = {
    "enable": {"summary": "Enable it again", "value": {"state": "enabled"}},
    "all types": {"summary": "Told of everything from now on", "value": {"event_types": None}},
    "move": {
        "summary": "Another address",
        "value": {"url": "https://hooks.example.com/v2/videos", "description": "Moved."},
    },
}
REPLAY_EXAMPLES: dict[str, Any] = {
    "since": {"summary": "Everything from a position on", "value": {"since_position": 1200}},
    "failed": {"summary": "Everything that failed", "value": {"failed": True}},
}
_SECRET_HEADERS = {"Cache-Control": _header("The secret is for the caller alone.", "no-store")}
_ADMIN = _problem(403, "scope-too-low", "Scope too low", "This needs the scope 'admin'.")
_NO_ENDPOINT = _problem(
    404, "no-such-endpoint", "No such endpoint", "There is no such webhook endpoint."
)
_NO_DELIVERY = _problem(
    404, "no-such-delivery", "No such delivery", "The endpoint has no such delivery."
)
_ENDPOINT_LIMIT = _problem(
    409, "endpoint-limit", "Endpoint limit", "Workspace 1 has 50 endpoints, the most it may have."
)
_ENDPOINT_DISABLED = _problem(
    409, "endpoint-disabled", "Endpoint disabled", "Enable the endpoint, then replay."
)
_TOO_MANY_TESTS = _problem(429, "too-many-tests", "Too many tests", "5 tests are under way.")
_TOO_MANY_TESTS["headers"] = {"Retry-After": _header("Seconds to wait.", "5")}
_ADDRESS = _problem(
    422,
    "invalid-request",
    "Invalid request",
    "Nothing was done. To be corrected: /url.",
    errors=[
        {
            "pointer": "/url",
            "code": "address_refused",
            "detail": "The address is not a public one.",
        }
    ],
)
_OF_ENDPOINT: Responses = {**_READ, 404: _NO_ENDPOINT, 422: _INVALID}
_BY_ADMIN: Responses = {**_OF_ENDPOINT, 403: _ADMIN}
_BODY_BY_ADMIN: Responses = {**_WRITE, **_BY_ADMIN}

NEW_ENDPOINT_RESPONSES: Responses = {
    **_WRITE,
    201: {
        **_answered("Registered; keep the secret.", _ENDPOINT_WITH_SECRET),
        "headers": {
            "Location": _header(
                "Where the endpoint can be asked for.",
                f"http://localhost:8000/api/v1/webhook-endpoints/{ENDPOINT['id']}",
            ),
            **_SECRET_HEADERS,
        },
    },
    403: _ADMIN,
    409: _ENDPOINT_LIMIT,
    422: _ADDRESS,
}
ENDPOINT_LIST_RESPONSES: Responses = {
    **_READ,
    200: _answered("A page of endpoints.", {"endpoints": [ENDPOINT], "next": None}),
    422: _INVALID,
}
ENDPOINT_RESPONSES: Responses = {
    **_OF_ENDPOINT,
    200: _answered("The endpoint as it stands.", ENDPOINT),
}
ENDPOINT_CHANGE_RESPONSES: Responses = {
    **_BODY_BY_ADMIN,
    200: _answered("The endpoint as it stands now.", ENDPOINT),
    422: _ADDRESS,
}
ENDPOINT_DELETE_RESPONSES: Responses = {**_BY_ADMIN, 204: {"description": "It is gone."}}
ROTATE_RESPONSES: Responses = {
    **_BY_ADMIN,
    200: {
        **_answered(
            "The new secret; keep it.",
            {**_ENDPOINT_WITH_SECRET, "previous_secret_until": "2026-11-25T09:00:00Z"},
        ),
        "headers": _SECRET_HEADERS,
    },
}
TEST_RESPONSES: Responses = {
    **_BY_ADMIN,
    200: _answered("What came of it, be it good or bad.", {**_ATTEMPT, "delivered": False}),
    429: _TOO_MANY_TESTS,
}
DELIVERY_LIST_RESPONSES: Responses = {
    **_OF_ENDPOINT,
    200: _answered("A page of deliveries.", {"deliveries": [DELIVERY], "next": None}),
}
DELIVERY_RESPONSES: Responses = {
    **_OF_ENDPOINT,
    200: _answered(
        "The delivery, with its attempts.",
        {**DELIVERY, "log": [{"id": "019f3c2b-5d02-7f6e-8b1c-4e7a9d0c3f26", **_ATTEMPT}]},
    ),
    404: _NO_DELIVERY,
}
REPLAY_RESPONSES: Responses = {
    **_BODY_BY_ADMIN,
    202: _answered("How many will be sent again.", {"deliveries": 37, "next_position": None}),
    409: _ENDPOINT_DISABLED,
}
DELIVERY_REPLAY_RESPONSES: Responses = {
    **_BY_ADMIN,
    202: _answered("The delivery, pending again.", {**DELIVERY, "attempts": 0}),
    404: _NO_DELIVERY,
    409: _ENDPOINT_DISABLED,
}


def document(app: FastAPI) -> dict[str, Any]:
    """The OpenAPI 3.1 document, made once."""
    if app.openapi_schema is None:
        made = get_openapi(
            title=app.title,
            version=app.version,
            summary=app.summary,
            description=app.description,
            routes=app.routes,
            tags=app.openapi_tags,
        )
        _, problems = models_json_schema(
            [
                (Problem, "serialization"),
                (FieldError, "serialization"),
                (CloudEvent, "serialization"),
            ],
            ref_template="#/components/schemas/{model}",
        )
        made["components"]["schemas"].update(opened(problems["$defs"]))
        app.openapi_schema = made
    return app.openapi_schema
