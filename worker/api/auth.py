"""Authentication: the API key in `Authorization: Bearer …`, and what its scope permits."""

from typing import Annotated

from fastapi import Depends, Request
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer

from schemas.values.caller import Caller, Scope
from worker.api.problems import KEY_IN_URL, NOT_AUTHENTICATED, SCOPE_TOO_LOW, ApiProblem
from worker.operations.api_keys import identify
from worker.runtime.runtime import Runtime

ACCESS_TOKEN = "access_token"  # noqa: S105 - the name of a query parameter

_bearer = HTTPBearer(auto_error=False, description="An API key: `publish-worker keys create`.")


async def current_runtime(request: Request) -> Runtime:
    """The runtime of this process: settings, engine, Redis, waker."""
    return request.app.state.runtime


CurrentRuntime = Annotated[Runtime, Depends(current_runtime)]
Credentials = Annotated[HTTPAuthorizationCredentials | None, Depends(_bearer)]


def _authenticate(runtime: CurrentRuntime, credentials: Credentials) -> Caller:
    return _identify(runtime, credentials.credentials if credentials else None)


def _authenticate_stream(
    request: Request, runtime: CurrentRuntime, credentials: Credentials
) -> Caller:
    """Accept the key in the query as well (RFC 6750, 2.3): EventSource cannot set headers.

    URLs are kept in browser histories and proxy logs, so there only a key of scope `read` is valid.
    """
    if credentials:
        return _identify(runtime, credentials.credentials)
    caller = _identify(runtime, request.query_params.get(ACCESS_TOKEN))
    if caller.scope is not Scope.READ:
        raise ApiProblem(KEY_IN_URL)
    return caller


def _identify(runtime: Runtime, secret: str | None) -> Caller:
    caller = identify(runtime.engine, secret) if secret else None
    if caller is None:
        raise ApiProblem(NOT_AUTHENTICATED, headers={"WWW-Authenticate": "Bearer"})
    return caller


RequiresKey = Depends(_authenticate)
"""For a router: a request without a key is refused before anything else is checked."""
AnyCaller = Annotated[Caller, RequiresKey]
"""Any key: each scope may read."""
StreamCaller = Annotated[Caller, Depends(_authenticate_stream)]
"""Any key in the header, or one of scope `read` in the query."""


async def _require_publish(caller: AnyCaller) -> Caller:
    return _require(Scope.PUBLISH, caller)


async def _require_admin(caller: AnyCaller) -> Caller:
    return _require(Scope.ADMIN, caller)


def _require(needed: Scope, caller: Caller) -> Caller:
    if not caller.scope.includes(needed):
        detail = f"The scope of this key is '{caller.scope}'; this request needs '{needed}'."
        raise ApiProblem(SCOPE_TOO_LOW, detail)
    return caller


PublishCaller = Annotated[Caller, Depends(_require_publish)]
"""A key that may publish."""
AdminCaller = Annotated[Caller, Depends(_require_admin)]
"""A key that may manage webhook endpoints."""
