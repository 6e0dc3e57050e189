"""Building blocks of a route's `responses=`: successful answers, and the problems it may raise."""

from typing import Any

from worker.api import problems
from worker.api.documents.commands import COMMAND
from worker.api.problems import MEDIA_TYPE, ProblemKind

Responses = dict[int | str, dict[str, Any]]

BODY_PROBLEMS = (
    problems.MALFORMED_JSON,
    problems.MALFORMED_REQUEST,
    problems.SCOPE_TOO_LOW,
    problems.REQUEST_TIMEOUT,
    problems.BODY_TOO_LARGE,
    problems.NOT_JSON,
)
"""What a route with a JSON body may answer."""


def success(
    status: int,
    description: str,
    example: Any,
    *,
    media_type: str = "application/json",
    schema: dict[str, Any] | None = None,
    headers: dict[str, Any] | None = None,
) -> Responses:
    """A successful answer with an example of its body."""
    body = {"example": example} | ({"schema": schema} if schema else {})
    more = {"headers": headers} if headers else {}
    return {status: {"description": description, "content": {media_type: body}, **more}}


def header(name: str, description: str, example: str) -> dict[str, Any]:
    """A header of an answer."""
    return {name: {"description": description, "schema": {"type": "string"}, "example": example}}


def failures(*kinds: ProblemKind) -> Responses:
    """The problems that a route may raise; of several with one status, the first is the example."""
    responses: Responses = {}
    for kind in kinds:
        if described := responses.get(kind.status):
            described["description"] += f", or: {kind.title}"
        else:
            responses[kind.status] = _problem(kind)
    return responses


def _problem(kind: ProblemKind) -> dict[str, Any]:
    example = {
        "type": f"/problems/{kind.name}",
        "title": kind.title,
        "status": kind.status,
        "detail": kind.detail,
        "instance": "/api/v1/videos/7/publish/",
        "correlation_id": COMMAND["correlation_id"],
        **kind.example,
    }
    described: dict[str, Any] = {
        "description": kind.title,
        "content": {
            MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}, "example": example}
        },
    }
    if kind.retry_after is not None:
        described["headers"] = header("Retry-After", "Seconds to wait.", str(kind.retry_after))
    return described


HEAD_PROBLEMS = failures(problems.URI_TOO_LONG, problems.HEAD_TOO_LARGE)
"""What every route may answer."""
KEY_PROBLEMS = HEAD_PROBLEMS | failures(
    problems.NOT_AUTHENTICATED,
    problems.METHOD_NOT_ALLOWED,
    problems.INVALID_REQUEST,
    problems.TOO_MANY_REQUESTS,
    problems.DATABASE_AWAY,
    problems.OVERLOADED,
    problems.TOO_SLOW,
)
"""What every route that needs a key may answer."""
IDEMPOTENCY_REPLAYED = header(
    "Idempotency-Replayed",
    "`true` if the Idempotency-Key already belonged to these commands.",
    "true",
)
PREFERENCE_APPLIED = header("Preference-Applied", "The preference that was applied.", "wait=10")
