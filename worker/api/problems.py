"""Problems (RFC 9457): every error leaves the API in this one shape."""

from collections.abc import Mapping, Sequence

import structlog
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from psycopg.errors import LockNotAvailable
from starlette.exceptions import HTTPException

from db.errors import DATABASE_ERRORS, is_passing
from schemas.command import PublishRequest
from schemas.problem import FieldError, Problem
from worker.api.middleware import CORRELATION, correlation_id
from worker.enqueue.accept import KeyReused, NoSuchVideo, VideoChanged
from worker.enqueue.changes import CommandEnded, CommandNotFailed, NoSuchCommand
from worker.enqueue.new_commands import RequestInvalid
from worker.events.feed import PositionAhead, PositionGone
from worker.webhooks.endpoints import (
    EndpointInvalid,
    EndpointNotEnabled,
    EventNotKept,
    NoSuchDelivery,
    NoSuchEndpoint,
    TooManyEndpoints,
)

MEDIA_TYPE = "application/problem+json"
DOCUMENTED, OPTIONS = "documented request", "publishing options"
"""Tags of the publish body's two shapes; not part of any pointer."""
NAMED, MAX_ERRORS = 10, 1000
"""How many fields the detail names, and how many errors an answer lists: one for each command."""

log: structlog.stdlib.BoundLogger = structlog.stdlib.get_logger(__name__)


class ApiProblem(Exception):
    """An error with everything that the answer to it says."""

    def __init__(
        self,
        *,
        status: int,
        kind: str,
        title: str,
        detail: str,
        errors: Sequence[FieldError] | None = None,
        command: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(detail)
        self.status = status
        self.kind = kind
        self.title = title
        self.detail = detail
        self.errors = errors
        self.command = command
        self.headers = headers


def no_such_video(video_id: int) -> ApiProblem:
    """No such video, as far as the caller's workspace goes."""
    detail = f"There is no video {video_id} that this key can see."
    return ApiProblem(status=404, kind="no-such-video", title="No such video", detail=detail)


def invalid(errors: Sequence[FieldError]) -> ApiProblem:
    """Some fields are wrong; nothing was done."""
    fields = list(dict.fromkeys(error.pointer or "the body" for error in errors))
    more = f" and {len(fields) - NAMED} more" if len(fields) > NAMED else ""
    return ApiProblem(
        status=422,
        kind="invalid-request",
        title="Invalid request",
        detail=f"Nothing was done. To be corrected: {', '.join(fields[:NAMED])}{more}.",
        errors=errors[:MAX_ERRORS],
    )


def answer(request: Request, problem: ApiProblem) -> JSONResponse:
    """The problem as an answer."""
    body = Problem(
        type=f"/problems/{problem.kind}",
        title=problem.title,
        status=problem.status,
        detail=problem.detail,
        instance=request.url.path,
        correlation_id=correlation_id(request.scope),
        errors=list(problem.errors) if problem.errors else None,
        command=problem.command,
    )
    return JSONResponse(
        body.model_dump(mode="json", exclude_none=True),
        status_code=problem.status,
        headers=dict(problem.headers or {}),
        media_type=MEDIA_TYPE,
    )


def install(app: FastAPI) -> None:
    """Turn every exception that may leave a route into a problem."""

    async def api_problem(request: Request, error: Exception) -> JSONResponse:
        assert isinstance(error, ApiProblem)  # noqa: S101 - Starlette looks handlers up by type
        return answer(request, error)

    async def validation(request: Request, error: Exception) -> JSONResponse:
        assert isinstance(error, RequestValidationError)  # noqa: S101
        return answer(request, _from_validation(error))

    async def http(request: Request, error: Exception) -> JSONResponse:
        assert isinstance(error, HTTPException)  # noqa: S101
        return answer(request, _from_http(error))

    async def of_ours(request: Request, error: Exception) -> JSONResponse:
        return answer(request, _from_ours(error, request))

    async def database(request: Request, error: Exception) -> JSONResponse:
        if not is_passing(error):
            return await bug(request, error)
        log.error("database.away", error=str(error))
        return answer(request, _AWAY)

    async def bug(request: Request, error: Exception) -> JSONResponse:
        log.error("request.failed", exc_info=error)
        answered = answer(request, _BUG)
        # This one is sent from outside our own middleware.
        answered.headers[CORRELATION] = correlation_id(request.scope)
        return answered

    app.add_exception_handler(ApiProblem, api_problem)
    app.add_exception_handler(RequestValidationError, validation)
    app.add_exception_handler(HTTPException, http)
    for kind in (RequestInvalid, EndpointInvalid, *_OURS):
        app.add_exception_handler(kind, of_ours)
    app.add_exception_handler(LockNotAvailable, _busy)
    for kind in DATABASE_ERRORS:
        app.add_exception_handler(kind, database)
    app.add_exception_handler(Exception, bug)


async def _busy(request: Request, _: Exception) -> JSONResponse:
    return answer(request, _BUSY)


_AWAY = ApiProblem(
    status=503,
    kind="database-away",
    title="Database away",
    detail="The database cannot be reached; nothing was done. Try again in a few seconds.",
    headers={"Retry-After": "5"},
)
_BUSY = ApiProblem(
    status=503,
    kind="busy",
    title="Busy",
    detail="Somebody else holds the video or the command in a transaction that takes long; nothing "
    "was done. Try again in a second.",
    headers={"Retry-After": "1"},
)
_BUG = ApiProblem(
    status=500,
    kind="internal-error",
    title="Internal error",
    detail="This is a fault of ours. The correlation id leads to it in the logs.",
)


_OURS: dict[type[Exception], tuple[int, str, str]] = {
    PositionAhead: (409, "position-ahead", "Position ahead"),
    PositionGone: (410, "position-gone", "Position gone"),
    NoSuchVideo: (404, "no-such-video", "No such video"),
    VideoChanged: (412, "video-changed", "Video changed"),
    KeyReused: (422, "idempotency-key-reused", "Idempotency key reused"),
    NoSuchCommand: (404, "no-such-command", "No such command"),
    CommandEnded: (409, "command-ended", "Command ended"),
    CommandNotFailed: (409, "command-not-failed", "Command not failed"),
    NoSuchEndpoint: (404, "no-such-endpoint", "No such endpoint"),
    NoSuchDelivery: (404, "no-such-delivery", "No such delivery"),
    TooManyEndpoints: (409, "endpoint-limit", "Endpoint limit"),
    EndpointNotEnabled: (409, "endpoint-disabled", "Endpoint disabled"),
    EventNotKept: (409, "event-not-kept", "Event not kept"),
}


def _from_ours(error: Exception, request: Request) -> ApiProblem:
    if isinstance(error, RequestInvalid):
        return invalid([_placed(each, index, request) for index, each in error.errors])
    if isinstance(error, EndpointInvalid):
        return invalid([error.error])
    if isinstance(error, NoSuchVideo) and _is_bulk(request):
        return invalid(list(map(_missing, error.indexes, error.video_ids)))
    status, kind, title = _OURS[type(error)]
    changed = error.indexes if isinstance(error, VideoChanged) and _is_bulk(request) else ()
    return ApiProblem(
        status=status,
        kind=kind,
        title=title,
        detail=str(error),
        errors=[_changed(index) for index in changed],
    )


def _placed(error: FieldError, index: int, request: Request) -> FieldError:
    """In a bulk call, an error points into its own command."""
    if not _is_bulk(request):
        return error
    of_command = error.pointer.split("/")[1] in PublishRequest.model_fields
    place = f"/commands/{index}" if of_command else f"/commands/{index}/video"
    return error.model_copy(update={"pointer": f"{place}{error.pointer}"})


def _missing(index: int, video_id: int) -> FieldError:
    detail = f"There is no video {video_id}."
    return FieldError(pointer=f"/commands/{index}/video_id", code="no_such_video", detail=detail)


def _changed(index: int) -> FieldError:
    detail = "The video was changed since the version that was expected."
    return FieldError(pointer=f"/commands/{index}", code="video_changed", detail=detail)


def _is_bulk(request: Request) -> bool:
    return request.url.path.rstrip("/").endswith("/publish-commands")


def _from_http(error: HTTPException) -> ApiProblem:
    known = {
        400: ("malformed-request", "Malformed request", "The body cannot be read."),
        404: ("no-such-page", "No such page", "There is nothing at this address."),
        405: ("method-not-allowed", "Method not allowed", "This address has other methods."),
        413: ("body-too-large", "Body too large", "Nothing was done; send at most 1 MiB at once."),
    }
    kind, title, detail = known.get(
        error.status_code, ("request-refused", "Request refused", str(error.detail))
    )
    return ApiProblem(
        status=error.status_code, kind=kind, title=title, detail=detail, headers=error.headers
    )


def _from_validation(error: RequestValidationError) -> ApiProblem:
    found = error.errors()
    if found[0]["type"] == "json_invalid":
        return ApiProblem(
            status=400,
            kind="malformed-json",
            title="Malformed JSON",
            detail=f"Nothing was done. The body is no JSON: {found[0]['ctx']['error']}.",
        )
    if any(each["loc"][0] == "path" for each in found):
        return _from_http(HTTPException(404))
    return invalid(
        [
            FieldError(
                pointer=_pointer(each["loc"]),
                code=each["type"],
                detail=each["msg"].removeprefix("Value error, "),
            )
            for each in found
        ]
    )


def _pointer(loc: Sequence[int | str]) -> str:
    """A JSON Pointer (RFC 6901) into the body; elsewhere, where and what: `query limit`."""
    where, *parts = loc
    if where != "body":
        return " ".join(map(str, loc))
    if parts and parts[0] in (DOCUMENTED, OPTIONS):
        parts = parts[1:]
    return "".join(f"/{str(part).replace('~', '~0').replace('/', '~1')}" for part in parts)
