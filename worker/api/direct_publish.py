"""The hot route: ordinary requests to publish a video, without the framework's routing.

FastAPI's router and its dependency injection cost more than the rest of such a request. Whatever is
not ordinary (an unusual header, an invalid body) goes to FastAPI's handler of the same route, so
that each error has one source. Both end in the same functions, and so in the same answers.
"""

import re
from collections.abc import Iterable

from fastapi import Request, Response
from pydantic import ValidationError
from pydantic_core import from_json
from starlette.types import ASGIApp, Receive, Scope, Send

from schemas.command import PublishBody, PublishRequest
from schemas.values.caller import Caller
from schemas.values.caller import Scope as KeyScope
from worker.api.admission import Turn
from worker.api.auth import identify_caller
from worker.api.enqueue_request import is_valid_key, to_origin
from worker.api.exception_handlers import HANDLED, answer
from worker.api.problems import ApiProblem
from worker.api.request_limits import check_structure, read_body
from worker.api.routes.videos import to_accepted_response, to_publish_request
from worker.api.routing import AdmittedBody, admit
from worker.enqueue.group_commit import GroupCommit
from worker.runtime.runtime import Runtime

ROUTE = "/api/v1/videos/{video_id}/publish/"
_PATH = re.compile(r"/api/v1/videos/([0-9]{1,18})/publish/?")
_READ = frozenset({b"authorization", b"content-type", b"idempotency-key", b"if-match"})
"""Headers that are read here, each once at most."""
_LEFT_TO_FASTAPI = frozenset({b"prefer"})
_JSON = ("application/json", "application/json; charset=utf-8")
MAX_ETAG = 255
_NO_BODY = PublishBody()


class DirectPublish:
    """Answer ordinary requests to publish; leave every other request to the application."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request."""
        is_post = scope["type"] == "http" and scope["method"] == "POST"
        path = _PATH.fullmatch(scope["path"]) if is_post else None
        headers = _read_headers(scope["headers"]) if path else None
        if path is None or headers is None or _waits_by_default(scope):
            await self._app(scope, receive, send)
            return
        request = Request(scope, receive)
        turn = request.state.turn = Turn()
        try:
            response = await _publish(request, turn, int(path[1]), headers)
            if response is None:
                await self._app(scope, receive, send)
                return
        except HANDLED as error:
            response = answer(request, error)
        finally:
            turn.leave()
        await response(scope, receive, send)


async def _publish(
    request: Request, turn: Turn, video_id: int, headers: dict[bytes, str]
) -> Response | None:
    """Accept an ordinary request, and answer it. None: FastAPI has to answer it."""
    caller = await admit(request, turn, identify_caller, ROUTE)
    body = await read_body(request, turn)
    publish_request = _parse(body, video_id, headers)
    if publish_request is None or not caller or not caller.scope.includes(KeyScope.PUBLISH):
        request.state.admitted = AdmittedBody(body)
        return None
    return await _accept(request, publish_request, caller, headers.get(b"idempotency-key"))


async def _accept(
    request: Request, publish_request: PublishRequest, caller: Caller, key: str | None
) -> Response:
    group_commit: GroupCommit = request.app.state.group_commit
    runtime: Runtime = request.app.state.runtime
    accepted = await group_commit.accept([publish_request], to_origin(request.scope, caller, key))
    headers = {"Idempotency-Replayed": "true"} if accepted.replayed else {}
    return to_accepted_response(runtime.settings.public_base_url, accepted.commands[0], headers)


def _read_headers(headers: Iterable[tuple[bytes, bytes]]) -> dict[bytes, str] | None:
    """Return the headers that are read here. None: one of them is unusual."""
    found: dict[bytes, str] = {}
    for name, value in headers:
        if name in _READ:
            if name in found:
                return None
            found[name] = value.decode("latin-1")
        elif name in _LEFT_TO_FASTAPI:
            return None
    is_usual = is_valid_key(found.get(b"idempotency-key", "-")) and (
        0 < len(found.get(b"if-match", "-")) <= MAX_ETAG
    )
    return found if is_usual else None


def _parse(body: bytes, video_id: int, headers: dict[bytes, str]) -> PublishRequest | None:
    """Return the request in the body. None: it is invalid, or declared in an unusual way."""
    if_match = headers.get(b"if-match")
    if video_id < 1:
        return None
    if not body:
        return to_publish_request(_NO_BODY, if_match, video_id)
    if headers.get(b"content-type", "").lower() not in _JSON:
        return None
    try:
        document = from_json(body, allow_inf_nan=False)
        check_structure(document)
        return to_publish_request(PublishBody.model_validate(document), if_match, video_id)
    except (ApiProblem, ValidationError, ValueError):
        return None


def _waits_by_default(scope: Scope) -> bool:
    runtime: Runtime = scope["app"].state.runtime
    return runtime.settings.publish_wait_seconds > 0
