"""Authentication: the API key in `Authorization: Bearer …`, and what its scope permits."""

from collections.abc import Awaitable, Callable
from typing import Annotated

from fastapi import Depends, Request
from fastapi.dependencies.models import Dependant
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer

from schemas.values.caller import Caller, Scope
from worker.api.key_cache import KeyCache
from worker.api.problems import KEY_IN_URL, NOT_AUTHENTICATED, SCOPE_TOO_LOW, ApiProblem
from worker.runtime.runtime import Runtime

Identifier = Callable[[Request], Awaitable[Caller]]

ACCESS_TOKEN = "access_token"  # noqa: S105 - the name of a query parameter

_bearer = HTTPBearer(auto_error=False, description="An API key: `publish-worker keys create`.")


async def current_runtime(request: Request) -> Runtime:
    """The runtime of this process: settings, engine, Redis, waker."""
    return request.app.state.runtime


CurrentRuntime = Annotated[Runtime, Depends(current_runtime)]
Credentials = Annotated[HTTPAuthorizationCredentials | None, Depends(_bearer)]


async def _authenticate(request: Request, _: Credentials) -> Caller:
    """The caller that `identify_caller` found before the body was read."""
    return request.state.caller


async def _authenticate_stream(request: Request, _: Credentials) -> Caller:
    """Like `_authenticate`; the key may be in the query as well."""
    return request.state.caller


async def identify_caller(request: Request) -> Caller:
    """The caller with the key in the header. Raises ApiProblem."""
    credentials = await _bearer(request)
    return await _identify(request, credentials.credentials if credentials else None)


async def identify_reader(request: Request) -> Caller:
    """Accept the key in the query as well (RFC 6750, 2.3): EventSource cannot set headers.

    URLs are kept in browser histories and proxy logs, so only a key of scope `events` is valid
    there.
    """
    if await _bearer(request):
        return await identify_caller(request)
    caller = await _identify(request, request.query_params.get(ACCESS_TOKEN))
    if caller.scope is not Scope.EVENTS:
        raise ApiProblem(KEY_IN_URL)
    return caller


async def _identify(request: Request, secret: str | None) -> Caller:
    return await identify_secret(request.app.state.keys, secret)


async def identify_secret(keys: KeyCache, secret: str | None) -> Caller:
    """The caller with this key. Raises ApiProblem."""
    caller = await keys.identify(secret) if secret else None
    if caller is None:
        raise ApiProblem(NOT_AUTHENTICATED, headers={"WWW-Authenticate": "Bearer"})
    return caller


def find_identifier(dependant: Dependant) -> Identifier | None:
    """How a route with these dependencies identifies its caller. None: it needs no key."""
    for each in dependant.dependencies:
        found = _IDENTIFIERS.get(each.call) or find_identifier(each)
        if found is not None:
            return found
    return None


_IDENTIFIERS: dict[object, Identifier] = {
    _authenticate: identify_caller,
    _authenticate_stream: identify_reader,
}
RequiresKey = Depends(_authenticate)
"""For a router: a request without a key is refused before anything else is checked."""
AnyCaller = Annotated[Caller, RequiresKey]
"""Any key: each scope may read events."""
StreamCaller = Annotated[Caller, Depends(_authenticate_stream)]
"""Any key in the header, or one of scope `events` in the query."""


async def _require_read(caller: AnyCaller) -> Caller:
    return _require(Scope.READ, caller)


async def _find_reader(request: Request, credentials: Credentials) -> Caller | None:
    keys: KeyCache = request.app.state.keys
    caller = await keys.identify(credentials.credentials) if credentials else None
    return caller if caller and caller.scope.includes(Scope.READ) else None


async def _require_publish(caller: AnyCaller) -> Caller:
    return _require(Scope.PUBLISH, caller)


async def _require_admin(caller: AnyCaller) -> Caller:
    return _require(Scope.ADMIN, caller)


def _require(needed: Scope, caller: Caller) -> Caller:
    if not caller.scope.includes(needed):
        detail = f"The scope of this key is '{caller.scope}'; this request needs '{needed}'."
        raise ApiProblem(SCOPE_TOO_LOW, detail)
    return caller


OptionalReader = Annotated[Caller | None, Depends(_find_reader)]
"""A key that may read videos; None for any other request, which is not refused."""
ReadCaller = Annotated[Caller, Depends(_require_read)]
"""A key that may read videos, commands and webhook endpoints."""
PublishCaller = Annotated[Caller, Depends(_require_publish)]
"""A key that may publish."""
AdminCaller = Annotated[Caller, Depends(_require_admin)]
"""A key that may manage webhook endpoints."""
