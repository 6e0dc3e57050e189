"""The table of problems (RFC 9457): every error that this API answers with, in its one shape.

Raised problems and the error responses of the OpenAPI document are both made from this table.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from fastapi import Request, Response

from schemas.problem import FieldError, Problem

MEDIA_TYPE = "application/problem+json"
MAX_FIELDS_NAMED = 10
"""How many fields the detail of an invalid request names."""
MAX_ERRORS = 1000
"""How many errors one answer lists: one for each command of a bulk request."""
MAX_TEXT = 300
"""Characters of the caller's input that an error repeats."""


@dataclass(frozen=True, slots=True)
class ProblemKind:
    """One kind of problem."""

    name: str
    """The last part of `type`. Clients compare it, so it never changes."""
    status: int
    detail: str
    """The text for people, unless the error has a more exact one. OpenAPI's example."""
    retry_after: int | None = None
    """Seconds until another attempt may succeed; sent as `Retry-After`."""
    example: Mapping[str, Any] = field(default_factory=dict[str, Any])
    """Further members of OpenAPI's example."""

    @property
    def title(self) -> str:
        """The name as words: "No such video"."""
        words = self.name.replace("-", " ").capitalize()
        return words.replace("json", "JSON").replace("url", "URL")

    @property
    def headers(self) -> dict[str, str]:
        """The headers that every answer of this kind has."""
        return {} if self.retry_after is None else {"Retry-After": str(self.retry_after)}


MALFORMED_REQUEST = ProblemKind(
    "malformed-request", 400, "Nothing was done. The body cannot be read."
)
MALFORMED_JSON = ProblemKind(
    "malformed-json", 400, "Nothing was done. The body is not valid JSON: unexpected end of input."
)
NOT_AUTHENTICATED = ProblemKind(
    "not-authenticated",
    401,
    "Send `Authorization: Bearer <API key>` with a key that has not been revoked.",
)
SCOPE_TOO_LOW = ProblemKind(
    "scope-too-low", 403, "The scope of this key is 'read'; this request needs 'publish'."
)
ADMIN_NEEDED = ProblemKind(
    "scope-too-low", 403, "The scope of this key is 'publish'; this request needs 'admin'."
)
KEY_IN_URL = ProblemKind(
    "key-in-url", 403, "A URL may carry only a key of scope 'events'. Create one for this purpose."
)
NO_SUCH_PAGE = ProblemKind("no-such-page", 404, "This address does not exist.")
NO_SUCH_VIDEO = ProblemKind("no-such-video", 404, "There is no video 7 that this key can see.")
NO_SUCH_COMMAND = ProblemKind("no-such-command", 404, "There is no such command.")
NO_SUCH_ENDPOINT = ProblemKind("no-such-endpoint", 404, "There is no such webhook endpoint.")
NO_SUCH_DELIVERY = ProblemKind("no-such-delivery", 404, "The endpoint has no such delivery.")
NO_SUCH_LETTER = ProblemKind(
    "no-such-letter", 404, "There is no such dead letter: it was redriven or deleted."
)
LETTER_TOO_LARGE = ProblemKind(
    "letter-too-large", 409, "The entry is too large to be shown as a whole."
)
NOT_LETTERS = ProblemKind(
    "not-dead-letters", 409, "The key of the group's dead letters is of another program."
)
NO_SUCH_MESSAGE = ProblemKind(
    "no-such-message", 404, "There is no such message in quarantine: it was retried or deleted."
)
NO_SUCH_KEY = ProblemKind("no-such-key", 404, "There is no such API key that is still valid.")
NO_SUCH_SCHEMA = ProblemKind(
    "no-such-schema", 404, "There is no schema of 'video.exploded' in version '1'."
)
METHOD_NOT_ALLOWED = ProblemKind(
    "method-not-allowed", 405, "This address does not support this method."
)
REQUEST_TIMEOUT = ProblemKind(
    "request-timeout", 408, "Nothing was done. The request did not arrive within 30 seconds."
)
COMMAND_ENDED = ProblemKind(
    "command-ended", 409, "The command ended as 'published'; it cannot be changed any more."
)
COMMAND_NOT_FAILED = ProblemKind(
    "command-not-failed", 409, "The command is 'published'; only a failed one can be retried."
)
PUBLISH_REJECTED = ProblemKind(
    "publish-rejected",
    409,
    "Generation has failed. (generation_failed)",
    example={
        "command": "http://localhost:8000/api/v1/publish-commands/019f3c1e-7a51-7c43-9d7e-0d5f8a2b6c11"
    },
)
MESSAGE_REFUSED = ProblemKind(
    "message-refused", 409, "The message is still not valid, and stays in quarantine."
)
LETTER_FOREIGN = ProblemKind(
    "letter-foreign", 409, "The entry is not an event, so it cannot be redriven."
)
KEY_RIGHTS_MISSING = ProblemKind(
    "key-rights-missing", 409, "The database role app may not create or revoke API keys."
)
KEY_REFUSED = ProblemKind("key-refused", 422, "A key of scope 'publish' cannot create this key.")
REPORT_REFUSED = ProblemKind(
    "report-refused",
    409,
    "The platform's table refuses it: value too long for type character varying(200)",
)
POSITION_AHEAD = ProblemKind(
    "position-ahead", 409, "The last position is 1000.", example={"resume_after": 1000}
)
ENDPOINT_LIMIT = ProblemKind(
    "endpoint-limit", 409, "Workspace 1 has 50 endpoints, the most it may have."
)
ENDPOINT_DISABLED = ProblemKind(
    "endpoint-disabled", 409, "The endpoint is disabled; enable it, then replay."
)
EVENT_NOT_KEPT = ProblemKind(
    "event-not-kept", 409, "The event is not stored any more; it cannot be sent again."
)
POSITION_GONE = ProblemKind(
    "position-gone", 410, "The oldest event still stored is 1000.", example={"resume_after": 999}
)
VIDEO_CHANGED = ProblemKind(
    "video-changed", 412, "Video 7 was changed since the version that was expected."
)
BODY_TOO_LARGE = ProblemKind(
    "body-too-large", 413, "Nothing was done. The body is larger than 1 MiB; send less at once."
)
URI_TOO_LONG = ProblemKind(
    "uri-too-long",
    414,
    "Nothing was done. The URL is longer than 8 KiB, or has more than 100 parameters.",
)
NOT_JSON = ProblemKind("not-json", 415, "Send the body with `Content-Type: application/json`.")
INVALID_REQUEST = ProblemKind(
    "invalid-request",
    422,
    "Nothing was done. To be corrected: /title.",
    example={"errors": [{"pointer": "/title", "code": "missing", "detail": "Field required"}]},
)
INVALID_ADDRESS = ProblemKind(
    "invalid-request",
    422,
    "Nothing was done. To be corrected: /url.",
    example={
        "errors": [
            {
                "pointer": "/url",
                "code": "address_refused",
                "detail": "The host is at 10.0.0.1, which is not a public address. Private"
                " addresses and http:// are for development: the operator allows them with"
                " WEBHOOKS_ALLOW_PRIVATE=true.",
            }
        ]
    },
)
NOT_CONFIRMED = ProblemKind("not-confirmed", 422, "Nothing was done yet: it must be confirmed.")
KEY_REUSED = ProblemKind(
    "idempotency-key-reused", 422, "The Idempotency-Key was used for another request."
)
TOO_MANY_REQUESTS = ProblemKind(
    "too-many-requests",
    429,
    "This API key sends more than 200 requests a second; nothing was done. Try again in a second.",
    retry_after=1,
)
TOO_MANY_READERS = ProblemKind(
    "too-many-readers",
    429,
    "This API key has 2,000 streams open at this server. Close some, or use another key.",
    retry_after=5,
)
TOO_MANY_TESTS = ProblemKind(
    "too-many-tests",
    429,
    "Other tests are running: two of a workspace, and ten of all, may run at once. Nothing was"
    " sent. Try again in a few seconds.",
    retry_after=5,
)
TOO_MANY_REPLAYS = ProblemKind(
    "too-many-replays",
    429,
    "50,000 deliveries of the endpoint wait to be sent. Replay when fewer wait. Nothing was"
    " changed.",
    retry_after=60,
)
TOO_MANY_LOOK_UPS = ProblemKind(
    "too-many-look-ups",
    429,
    "Too many names are being looked up. Try again in a few seconds. Nothing was changed.",
    retry_after=5,
)
HEAD_TOO_LARGE = ProblemKind(
    "head-too-large",
    431,
    "Nothing was done. The request's line and headers are larger than 32 KiB, or there are more"
    " than 100 headers.",
)
TOO_MANY_COMMANDS = ProblemKind(
    "too-many-commands",
    429,
    "Video 7 may have 100 open commands and has 100; 1 more would be too many. Wait until some have"
    " ended, or cancel some.",
    retry_after=10,
)
INTERNAL_ERROR = ProblemKind(
    "internal-error",
    500,
    "This is an error of the server. Search the logs for the correlation id.",
)
DATABASE_AWAY = ProblemKind(
    "database-away",
    503,
    "The database cannot be reached; nothing was done. Try again in a few seconds.",
    retry_after=5,
)
REDIS_AWAY = ProblemKind(
    "redis-away",
    503,
    "Redis cannot be reached. Try again in a few seconds.",
    retry_after=5,
)
REDIS_NO_ANSWER = ProblemKind(
    "redis-no-answer",
    503,
    "Redis does not answer. Whether the change took place is not known.",
    retry_after=5,
)
TOO_SLOW = ProblemKind(
    "too-slow",
    503,
    "The database took too long to answer; nothing was done. Ask for less, or try again later.",
    retry_after=5,
)
OVERLOADED = ProblemKind(
    "overloaded",
    503,
    "This server has too many requests in hand; nothing was done. Try again in a second.",
    retry_after=1,
)
BUSY = ProblemKind(
    "busy",
    503,
    "Another transaction has locked the video or the command for too long; nothing was done. Try"
    " again in a second.",
    retry_after=1,
)


class ApiProblem(Exception):
    """An error with everything that its answer contains.

    `detail` (default: the kind's) and `errors` describe this case; `command` is the URL of the
    command that it is about; `resume_after` is where a reader of events can go on; `headers` are
    sent in addition to the kind's.
    """

    def __init__(
        self,
        kind: ProblemKind,
        detail: str | None = None,
        *,
        errors: Sequence[FieldError] = (),
        command: str | None = None,
        resume_after: int | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        self.kind = kind
        self.detail = detail or kind.detail
        super().__init__(self.detail)
        self.errors = errors
        self.command = command
        self.resume_after = resume_after
        self.headers = {**kind.headers, **(headers or {})}


def no_such_video(video_id: int) -> ApiProblem:
    """The problem of a video that does not exist, or that the caller may not see."""
    return ApiProblem(NO_SUCH_VIDEO, f"There is no video {video_id} that this key can see.")


def invalid_request(*errors: FieldError, count: int = 0) -> ApiProblem:
    """The problem of a request with wrong fields; its detail names the first ones.

    `count` is the number of errors, if not all of them are given.
    """
    fields = list(dict.fromkeys(error.pointer or "the body" for error in errors))
    rest = len(fields) - MAX_FIELDS_NAMED + max(count - len(errors), 0)
    named = ", ".join(map(shorten, fields[:MAX_FIELDS_NAMED]))
    more = f" and {rest} more" if rest > 0 else ""
    detail = f"Nothing was done. To be corrected: {named}{more}."
    return ApiProblem(INVALID_REQUEST, detail, errors=errors[:MAX_ERRORS])


def to_document(problem: ApiProblem, *, correlation_id: str, instance: str) -> str:
    """The body of the answer, as JSON."""
    kind = problem.kind
    body = Problem(
        type=f"/problems/{kind.name}",
        title=kind.title,
        status=kind.status,
        detail=problem.detail,
        instance=shorten(instance),
        correlation_id=correlation_id,
        errors=[_shorten_error(error) for error in problem.errors] or None,
        command=problem.command,
        resume_after=problem.resume_after,
    )
    return body.model_dump_json(exclude_none=True)


def to_response(request: Request, problem: ApiProblem) -> Response:
    """The answer to this request."""
    return Response(
        to_document(
            problem, correlation_id=request.state.correlation_id, instance=request.url.path
        ),
        status_code=problem.kind.status,
        headers=problem.headers,
        media_type=MEDIA_TYPE,
    )


def shorten(text: str) -> str:
    """The text, or its beginning if it is long: an answer does not repeat a megabyte of input."""
    return text if len(text) <= MAX_TEXT else f"{text[:MAX_TEXT]}…"


def _shorten_error(error: FieldError) -> FieldError:
    pointer, detail = shorten(error.pointer), shorten(error.detail)
    return error.model_copy(update={"pointer": pointer, "detail": detail})
