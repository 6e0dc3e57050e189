"""The router of this API: limits and keys before validation; strict about JSON.

It adds each route with and without a trailing slash.
"""

from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from inspect import iscoroutinefunction
from json import JSONDecodeError
from typing import Any

from fastapi import APIRouter, Request, Response
from fastapi.responses import RedirectResponse
from fastapi.routing import APIRoute
from psycopg.errors import TransactionTimeout
from pydantic_core import from_json
from starlette.exceptions import HTTPException

from db.errors import DATABASE_ERRORS, is_lost_session
from schemas.audit import AuditAction
from worker.api.admission import Admission, Turn, current_turn
from worker.api.audit import find_action, record_failure
from worker.api.auth import Identifier, find_identifier, identify_reader
from worker.api.problems import ApiProblem
from worker.api.request_limits import check_structure, read_body

WITHOUT_BODY = ("GET", "HEAD", "OPTIONS")
"""Methods that only read."""

API = "/api/v1"
"""The prefix of the routers with the API's resources."""

Handler = Callable[[Request], Coroutine[Any, Any, Response]]


@dataclass(frozen=True, slots=True)
class AdmittedBody:
    """In the state of a request whose caller was admitted, and whose body was read, before."""

    body: bytes


class StrictRequest(Request):
    """A request with JSON by RFC 8259: without NaN, lone surrogates and unlimited depth."""

    def __init__(self, request: Request, body: bytes) -> None:
        super().__init__(request.scope, request.receive)
        self._body = body

    async def json(self) -> Any:
        """The body, parsed. Raises JSONDecodeError if it is not valid JSON."""
        try:
            document = from_json(await self.body(), allow_inf_nan=False)
        except ValueError as error:
            raise JSONDecodeError(str(error), "", 0) from error
        check_structure(document)
        return document


class GuardedRoute(APIRoute):
    """A route that checks the limits and the key before it reads the body with `StrictRequest`."""

    has_one_address = False
    """Whether the other form of the path, with or without a slash, leads to the declared one."""

    def get_route_handler(self) -> Handler:
        """FastAPI's own handler, called when the request may be worked on."""
        handle = super().get_route_handler()
        identifier = self.find_identifier()
        action = find_action(self.dependant)

        async def handle_guarded(request: Request) -> Response:
            note_route(request, self.path)
            admitted: AdmittedBody | None = getattr(request.state, "admitted", None)
            if admitted:
                return await work(request, admitted.body)
            turn = request.state.turn = Turn()
            try:
                await self._admit(request, turn, identifier)
                body = b"" if request.method in WITHOUT_BODY else await read_body(request, turn)
                return await work(request, body)
            finally:
                turn.leave()

        async def work(request: Request, body: bytes) -> Response:
            try:
                async with current_turn(request).working():
                    strict = StrictRequest(request, body)
                    if action is None:
                        return await _repeat_read(handle, strict)
                    return await _handle_audited(handle, strict, action)
            except HTTPException as error:  # FastAPI's answer to an error in `json`
                if isinstance(error.__cause__, ApiProblem):
                    raise error.__cause__ from None
                raise

        return handle_guarded

    def find_identifier(self) -> Identifier | None:
        """How this route identifies its caller. None: it needs no key."""
        return find_identifier(self.dependant)

    async def _admit(self, request: Request, turn: Turn, identifier: Identifier | None) -> None:
        """Identify the caller, and count the request in its accounts. Raises ApiProblem."""
        admission: Admission = request.app.state.admission
        turn.join(admission.process)
        caller = request.state.caller = await identifier(request) if identifier else None
        accounts = admission.accounts(caller, self.path)
        needs_database = identifier is not None or not iscoroutinefunction(self.endpoint)
        turn.use_slots_of(accounts[-1], *([admission.process] if needs_database else []))
        if identifier is identify_reader:  # no rate: EventSource gives up for good after a 429
            return
        for account in accounts:
            turn.join(account)


def note_route(request: Request, path: str) -> None:
    """Note the template that a request matched, for the metrics, without its trailing slash.

    A route of a router that was included does not know the prefix.
    """
    is_below = request.scope["path"].startswith(API) and not path.startswith(API)
    request.state.route = f"{API if is_below else ''}{path.rstrip('/') or path}"


async def _repeat_read(handle: Handler, request: Request) -> Response:
    """Handle a request; one that only reads again, if its session was lost."""
    try:
        return await handle(request)
    except DATABASE_ERRORS as error:
        is_slow = isinstance(error, TransactionTimeout)  # it would be as slow again
        if request.method not in WITHOUT_BODY or is_slow or not is_lost_session(error):
            raise
    return await handle(request)


async def _handle_audited(handle: Handler, request: Request, action: AuditAction) -> Response:
    """Handle a request for a change; one that is refused, or fails, is recorded."""
    try:
        return await handle(request)
    except Exception as error:
        await record_failure(request, action, error)
        raise


class Router(APIRouter):
    """Adds each route twice: with and without a trailing slash.

    OpenAPI documents only the declared form. A page whose links are relative to its address has one
    address: the other form leads to it.
    """

    def __init__(self, route_class: type[GuardedRoute] = GuardedRoute, **options: Any) -> None:
        super().__init__(route_class=route_class, **options)

    def add_api_route(self, path: str, endpoint: Callable[..., Any], **options: Any) -> None:
        """Add the route as declared, and its undocumented other form."""
        super().add_api_route(path, endpoint, **options)
        other = path.rstrip("/") if path.endswith("/") else f"{path}/"
        options |= {"include_in_schema": False, "name": None, "operation_id": None}
        route_class = self.route_class
        is_page = options.get("methods") == ["GET"]
        if is_page and issubclass(route_class, GuardedRoute) and route_class.has_one_address:
            endpoint, options["route_class_override"] = lead_to_declared, GuardedRoute
            options |= {"response_model": None, "dependencies": None}
        super().add_api_route(other, endpoint, **options)


async def lead_to_declared(request: Request) -> Response:
    """Lead to the same path with a slash at its end, or without."""
    path, query = request.url.path, request.url.query
    declared = path.rstrip("/") if path.endswith("/") else f"{path}/"
    return RedirectResponse(f"{declared}?{query}" if query else declared, 308)
