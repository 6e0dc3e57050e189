"""The hot route: ordinary requests to publish a video, without the framework.

FastAPI's middleware, router and dependency injection cost more than the rest of such a request.
Whatever is not ordinary (an unusual header, an invalid body, an unknown origin) goes to FastAPI's
handler of the same route, so that each error has one source. Both end in the same functions, and so
in the same answers; a property test compares them.
"""

import re
import time
from collections.abc import Iterable

from fastapi import FastAPI, Request, Response
from pydantic import ValidationError
from pydantic_core import from_json
from starlette.types import Receive, Scope, Send

from publish_worker_client.trace_context import check_traceparent
from schemas.command import PublishBody, PublishRequest
from schemas.values.caller import Caller
from schemas.values.caller import Scope as KeyScope
from worker.api.admission import Admission, Turn
from worker.api.auth import identify_secret
from worker.api.enqueue_request import is_valid_key, to_origin
from worker.api.exception_handlers import HANDLED, answer, answer_bug
from worker.api.middleware import CORRELATION, TRACE, begin, record_handled
from worker.api.problems import ApiProblem
from worker.api.request_limits import check_head, check_structure, read_body
from worker.api.request_spans import trace_request
from worker.api.routes.videos import to_accepted_response, to_publish_request
from worker.api.routing import AdmittedBody, note_route
from worker.enqueue.group_commit import GroupCommit
from worker.runtime.runtime import Runtime
from worker.runtime.tracing import get_tracer

ROUTE = "/api/v1/videos/{video_id}/publish/"
_PATH = re.compile(r"/api/v1/videos/([0-9]{1,18})/publish/?")
_READ = {
    name.encode(): name
    for name in (
        "authorization",
        "content-length",
        "content-type",
        "idempotency-key",
        "if-match",
        "traceparent",
        CORRELATION,
    )
}
"""Headers that are read here, each once at most."""
_LEFT_TO_FASTAPI = frozenset({b"prefer", b"transfer-encoding", b"origin", b"expect"})
_BEARER = re.compile(r"Bearer ([^ ,]+)")
_JSON = ("application/json", "application/json; charset=utf-8")
_MAX_ETAG = 255
_NO_BODY = PublishBody()

Headers = dict[str, str]


class PublishApi(FastAPI):
    """FastAPI, but for ordinary requests to publish."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request, or the start and end of the server."""
        tracer = get_tracer()
        if tracer is None or scope["type"] != "http":
            await self._serve(scope, receive, send)
        else:
            await trace_request(tracer, self._serve, scope, receive, send)

    async def _serve(self, scope: Scope, receive: Receive, send: Send) -> None:
        is_post = scope["type"] == "http" and scope["method"] == "POST"
        path = _PATH.fullmatch(scope["path"]) if is_post else None
        headers = _read_headers(scope["headers"]) if path else None
        if path is None or headers is None or check_head(scope) or _waits_by_default(self):
            await super().__call__(scope, receive, send)
            return
        scope["app"] = self
        started = time.perf_counter()
        correlation_id = begin(scope, headers.get(CORRELATION))
        request = Request(scope, receive)
        turn = request.state.turn = Turn()
        note_route(request, ROUTE)
        try:
            response = await _answer(request, turn, int(path[1]), headers)
            if response is None:
                await super().__call__(scope, receive, send)
                return
        finally:
            turn.leave()
        response.raw_headers.append((CORRELATION.encode(), correlation_id.encode()))
        try:
            await response(scope, receive, send)
        finally:
            record_handled(scope, response.status_code, started)


async def _answer(request: Request, turn: Turn, video_id: int, headers: Headers) -> Response | None:
    try:
        return await _publish(request, turn, video_id, headers)
    except HANDLED as error:
        return answer(request, error)
    except Exception as error:  # noqa: BLE001 - the last line of defence; it is logged
        return answer_bug(request, error)


async def _publish(
    request: Request, turn: Turn, video_id: int, headers: Headers
) -> Response | None:
    """Accept an ordinary request, and answer it. None: FastAPI has to answer it."""
    caller = await _admit(request, turn, headers)
    body = b"" if headers.get("content-length", "0") == "0" else await read_body(request, turn)
    publish_request = _parse(body, video_id, headers)
    if publish_request is None or not caller.scope.includes(KeyScope.PUBLISH):
        request.state.admitted = AdmittedBody(body)
        return None
    return await _accept(request, publish_request, caller, headers)


async def _admit(request: Request, turn: Turn, headers: Headers) -> Caller:
    """Identify the caller, and count the request in its accounts. Raises ApiProblem."""
    state = request.app.state
    admission: Admission = state.admission
    turn.join(admission.process)
    bearer = _BEARER.fullmatch(headers.get("authorization", ""))
    caller = request.state.caller = await identify_secret(state.keys, bearer and bearer[1])
    for account in admission.accounts(caller, ROUTE):
        turn.join(account)
    return caller


async def _accept(
    request: Request, publish_request: PublishRequest, caller: Caller, headers: Headers
) -> Response:
    state = request.app.state
    group_commit: GroupCommit = state.group_commit
    runtime: Runtime = state.runtime
    origin = to_origin(
        caller,
        headers.get("idempotency-key"),
        request.state.correlation_id,
        request.scope["state"].get(TRACE) or check_traceparent(headers.get("traceparent")),
    )
    accepted = await group_commit.accept([publish_request], origin)
    more = {"Idempotency-Replayed": "true"} if accepted.replayed else {}
    return to_accepted_response(runtime.settings.public_base_url, accepted.commands[0], more)


def _read_headers(headers: Iterable[tuple[bytes, bytes]]) -> Headers | None:
    """Return the headers that are read here. None: one of them is unusual."""
    found: Headers = {}
    for name, value in headers:
        if known := _READ.get(name):
            if known in found:
                return None
            found[known] = value.decode("latin-1")
        elif name in _LEFT_TO_FASTAPI:
            return None
    is_usual = (
        is_valid_key(found.get("idempotency-key", "-"))
        and 0 < len(found.get("if-match", "-")) <= _MAX_ETAG
        and _BEARER.fullmatch(found.get("authorization", "Bearer -"))
    )
    return found if is_usual else None


def _parse(body: bytes, video_id: int, headers: Headers) -> PublishRequest | None:
    """Return the request in the body. None: it is invalid, or declared in an unusual way."""
    if_match = headers.get("if-match")
    if video_id < 1:
        return None
    if not body:
        return to_publish_request(_NO_BODY, if_match, video_id)
    if headers.get("content-type", "").lower() not in _JSON:
        return None
    try:
        document = from_json(body, allow_inf_nan=False)
        check_structure(document)
        return to_publish_request(PublishBody.model_validate(document), if_match, video_id)
    except (ApiProblem, ValidationError, ValueError):
        return None


def _waits_by_default(app: FastAPI) -> bool:
    runtime: Runtime = app.state.runtime
    return runtime.settings.publish_wait_seconds > 0
