"""From exceptions to problems: what a route may raise, and what the caller gets."""

from collections.abc import Callable, Sequence

import structlog
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import Response
from fastapi.routing import iter_route_contexts
from psycopg.errors import LockNotAvailable, QueryCanceled, TransactionTimeout
from sqlalchemy.exc import TimeoutError as PoolTimeout
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.routing import Match

from db.errors import DATABASE_ERRORS, NoAnswer, is_away, is_passing
from schemas.command import PublishRequest
from schemas.problem import FieldError
from worker.api import problems
from worker.api.middleware import CORRELATION, correlation_id
from worker.api.problems import ApiProblem, ProblemKind, invalid_request, to_response
from worker.api.streaming.tail import TooManyReaders
from worker.enqueue import quarantined_messages, refusals
from worker.enqueue.refusals import NoSuchVideo, RequestInvalid, VideoChanged
from worker.events.feed import PositionAhead, PositionGone, PositionUnknown
from worker.generation.apply import ReportRefused
from worker.operations import api_keys, dead_letters
from worker.runtime.errors_explained import RedisUnavailable
from worker.runtime.explanations import explain_database
from worker.webhooks import endpoints
from worker.webhooks.endpoints import EndpointInvalid

MAX_INVALID = 100
"""How many errors of validation one answer lists."""

NO_ANSWER = (
    "The database does not answer. Whether the request took effect is not known: with the same"
    " Idempotency-Key it can be sent again. Try again in a few seconds."
)
"""The detail where a commit may have been sent."""
NO_ANSWER_TO_A_READ = "The database does not answer. Try again in a few seconds."

ASK_OPERATOR = "Nothing was done. `publish-worker status` shows the cause, and what to do."
"""For an error of a database that answers: it waits for a right or a migration."""

Respond = Callable[[Request, ApiProblem], Response]
log: structlog.stdlib.BoundLogger = structlog.stdlib.get_logger(__name__)

_KINDS: dict[type[Exception], ProblemKind] = {
    PositionAhead: problems.POSITION_AHEAD,
    PositionGone: problems.POSITION_GONE,
    NoSuchVideo: problems.NO_SUCH_VIDEO,
    VideoChanged: problems.VIDEO_CHANGED,
    refusals.KeyReused: problems.KEY_REUSED,
    refusals.TooManyCommands: problems.TOO_MANY_COMMANDS,
    refusals.NoSuchCommand: problems.NO_SUCH_COMMAND,
    refusals.CommandEnded: problems.COMMAND_ENDED,
    refusals.CommandNotFailed: problems.COMMAND_NOT_FAILED,
    quarantined_messages.NoSuchMessage: problems.NO_SUCH_MESSAGE,
    quarantined_messages.RetryRefused: problems.MESSAGE_REFUSED,
    dead_letters.NoSuchLetter: problems.NO_SUCH_LETTER,
    dead_letters.LetterForeign: problems.LETTER_FOREIGN,
    dead_letters.LetterTooLarge: problems.LETTER_TOO_LARGE,
    dead_letters.NotLetters: problems.NOT_LETTERS,
    dead_letters.RedisNoAnswer: problems.REDIS_NO_ANSWER,
    RedisUnavailable: problems.REDIS_AWAY,
    api_keys.NoSuchKey: problems.NO_SUCH_KEY,
    api_keys.NoSuchWorkspace: problems.KEY_REFUSED,
    api_keys.KeyRightsMissing: problems.KEY_RIGHTS_MISSING,
    api_keys.KeyRefused: problems.KEY_REFUSED,
    endpoints.NoSuchEndpoint: problems.NO_SUCH_ENDPOINT,
    endpoints.NoSuchDelivery: problems.NO_SUCH_DELIVERY,
    endpoints.TooManyEndpoints: problems.ENDPOINT_LIMIT,
    endpoints.TooManyLookUps: problems.TOO_MANY_LOOK_UPS,
    endpoints.TooManyWaiting: problems.TOO_MANY_REPLAYS,
    endpoints.EndpointNotEnabled: problems.ENDPOINT_DISABLED,
    endpoints.EventNotKept: problems.EVENT_NOT_KEPT,
}
"""Exceptions whose text is the problem's detail."""
_GENERAL_KINDS: dict[type[Exception], ProblemKind] = {
    LockNotAvailable: problems.BUSY,
    QueryCanceled: problems.TOO_SLOW,
    TransactionTimeout: problems.TOO_SLOW,
    PoolTimeout: problems.OVERLOADED,
    TooManyReaders: problems.TOO_MANY_READERS,
    ClientDisconnect: problems.MALFORMED_REQUEST,  # the client has left
}
"""Exceptions whose text is not for callers."""
HANDLED: tuple[type[Exception], ...] = (
    ApiProblem,
    RequestValidationError,
    HTTPException,
    RequestInvalid,
    EndpointInvalid,
    ReportRefused,
    *_KINDS,
    *_GENERAL_KINDS,
    *DATABASE_ERRORS,
)
"""Exceptions that are answered with a problem; any other one is a bug."""
_HTTP_KINDS = {
    400: problems.MALFORMED_REQUEST,
    404: problems.NO_SUCH_PAGE,
    405: problems.METHOD_NOT_ALLOWED,
    413: problems.BODY_TOO_LARGE,
}
"""The framework's own errors, by status."""


def install(app: FastAPI, respond: Respond = to_response) -> None:
    """Answer every exception that leaves a route with a problem, written by `respond`."""

    async def handle(request: Request, error: Exception) -> Response:
        return respond(request, _to_problem(request, error))

    async def handle_bug(request: Request, error: Exception) -> Response:
        response = respond(request, _to_bug(error))
        # The framework sends this answer outside of our middleware.
        response.headers[CORRELATION] = correlation_id(request.scope)
        return response

    for kind in HANDLED:
        app.add_exception_handler(kind, handle)
    app.add_exception_handler(Exception, handle_bug)


def answer(request: Request, error: Exception) -> Response:
    """Answer an exception of `HANDLED` with a problem."""
    return to_response(request, _to_problem(request, error))


def find_kind(request: Request, error: Exception) -> ProblemKind:
    """Return the kind of problem that an exception is answered with. Logs nothing."""
    if isinstance(error, HANDLED) and not isinstance(error, DATABASE_ERRORS):
        return _to_problem(request, error).kind
    if kind := _GENERAL_KINDS.get(type(error)):
        return kind
    return problems.DATABASE_AWAY if is_passing(error) else problems.INTERNAL_ERROR


def answer_bug(request: Request, error: Exception) -> Response:
    """Answer any other exception."""
    return to_response(request, _to_bug(error))


def _to_problem(request: Request, error: Exception) -> ApiProblem:
    match error:
        case ApiProblem():
            problem = error
        case RequestValidationError():
            problem = _from_validation(error)
        case HTTPException():
            problem = _from_http(request, error)
        case RequestInvalid():
            problem = invalid_request(*(_in_bulk(request, *each) for each in error.errors))
        case EndpointInvalid():
            problem = invalid_request(error.error)
        case NoSuchVideo() | VideoChanged() if _is_bulk(request):
            problem = _from_bulk(error)
        case ReportRefused():
            detail = f"The platform's table refuses it: {error}"
            problem = ApiProblem(problems.REPORT_REFUSED, detail)
        case _ if kind := _GENERAL_KINDS.get(type(error)):
            problem = ApiProblem(kind)
        case _ if kind := _KINDS.get(type(error)):
            after = error.resume_after if isinstance(error, PositionUnknown) else None
            problem = ApiProblem(kind, str(error), resume_after=after)
        case _:
            problem = _from_database(request, error)
    return problem


def _to_bug(error: Exception) -> ApiProblem:
    log.error("request.failed", exc_info=error)
    return ApiProblem(problems.INTERNAL_ERROR)


def _from_database(request: Request, error: Exception) -> ApiProblem:
    if not is_passing(error):
        return _to_bug(error)
    log.error("database.away", error=str(error))
    if not is_away(error):
        return ApiProblem(
            problems.DATABASE_AWAY, f"{explain_database(error).public} {ASK_OPERATOR}"
        )
    if not isinstance(error, NoAnswer):
        return ApiProblem(problems.DATABASE_AWAY)
    is_read = request.method in ("GET", "HEAD")
    return ApiProblem(problems.DATABASE_AWAY, NO_ANSWER_TO_A_READ if is_read else NO_ANSWER)


def _in_bulk(request: Request, index: int, error: FieldError) -> FieldError:
    """In a bulk request, the error points into its own command."""
    if not _is_bulk(request):
        return error
    is_option = error.pointer.split("/")[1] in PublishRequest.model_fields
    parent = f"/commands/{index}" if is_option else f"/commands/{index}/video"
    return error.model_copy(update={"pointer": f"{parent}{error.pointer}"})


def _from_bulk(error: NoSuchVideo | VideoChanged) -> ApiProblem:
    if isinstance(error, NoSuchVideo):
        return invalid_request(*map(_missing_video, error.indexes, error.video_ids))
    errors = list(map(_changed_video, error.indexes))
    return ApiProblem(problems.VIDEO_CHANGED, str(error), errors=errors)


def _missing_video(index: int, video_id: int) -> FieldError:
    detail = f"There is no video {video_id}."
    return FieldError(pointer=f"/commands/{index}/video_id", code="no_such_video", detail=detail)


def _changed_video(index: int) -> FieldError:
    detail = "The video was changed since the version that was expected."
    return FieldError(pointer=f"/commands/{index}", code="video_changed", detail=detail)


def _is_bulk(request: Request) -> bool:
    return request.url.path.rstrip("/").endswith("/publish-commands")


def _from_http(request: Request, error: HTTPException) -> ApiProblem:
    status, detail = error.status_code, str(error.detail)
    kind = _HTTP_KINDS.get(status) or ProblemKind("request-refused", status, detail)
    is_method = kind is problems.METHOD_NOT_ALLOWED
    allow = {"Allow": ", ".join(_find_methods(request))} if is_method else {}
    return ApiProblem(kind, headers={**(error.headers or {}), **allow})


def _find_methods(request: Request) -> list[str]:
    """The methods of all routes with the request's path; the framework names only one route's."""
    found = {"HEAD"}
    for route in iter_route_contexts(request.app.routes):
        if route.matches(request.scope)[0] is not Match.NONE:
            found |= route.methods or set()
    return sorted(found if "GET" in found else found - {"HEAD"})


def _from_validation(error: RequestValidationError) -> ApiProblem:
    found = error.errors()
    if found[0]["type"] == "json_invalid":
        detail = f"Nothing was done. The body is not valid JSON: {found[0]['ctx']['error']}."
        return ApiProblem(problems.MALFORMED_JSON, detail)
    if any(each["loc"][0] == "path" for each in found):
        return ApiProblem(problems.NO_SUCH_PAGE)
    return invalid_request(
        *(
            FieldError(
                pointer=_pointer(each["loc"]),
                code=each["type"],
                detail=each["msg"].removeprefix("Value error, "),
            )
            for each in found[:MAX_INVALID]
        ),
        count=len(found),
    )


def _pointer(loc: Sequence[int | str]) -> str:
    """A JSON Pointer (RFC 6901) into the body; elsewhere the place and the name: `query limit`."""
    place, *parts = loc
    if place != "body":
        return " ".join(map(str, loc))
    return "".join(f"/{str(part).replace('~', '~0').replace('/', '~1')}" for part in parts)
