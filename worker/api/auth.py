"""Who is calling: the API key in `Authorization: Bearer …`, and what it may do."""

from typing import Annotated

from fastapi import Depends, Request
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer

from schemas.values.caller import Caller, Scope
from worker.api.problems import ApiProblem
from worker.operations.api_keys import identify
from worker.runtime.runtime import Runtime

ACCESS_TOKEN = "access_token"  # noqa: S105 - the name of a query parameter

_bearer = HTTPBearer(auto_error=False, description="An API key: `publish-worker keys create`.")


async def here(request: Request) -> Runtime:
    """What this process works with."""
    return request.app.state.runtime


Here = Annotated[Runtime, Depends(here)]


def _caller(
    runtime: Here, credentials: Annotated[HTTPAuthorizationCredentials | None, Depends(_bearer)]
) -> Caller:
    return _known(runtime, credentials.credentials if credentials else None)


def _caller_of_stream(
    request: Request,
    runtime: Here,
    credentials: Annotated[HTTPAuthorizationCredentials | None, Depends(_bearer)],
) -> Caller:
    """The key may be in the query here (RFC 6750, 2.3): EventSource cannot set headers.

    A URL ends up in histories and in the logs of proxies, so only a key that may read is taken.
    """
    if credentials:
        return _known(runtime, credentials.credentials)
    caller = _known(runtime, request.query_params.get(ACCESS_TOKEN))
    if caller.scope is not Scope.READ:
        raise ApiProblem(
            status=403,
            kind="key-in-url",
            title="Key in URL",
            detail=f"In a URL only a key of scope '{Scope.READ}' is taken: make one for this.",
        )
    return caller


def _known(runtime: Runtime, secret: str | None) -> Caller:
    caller = identify(runtime.engine, secret) if secret else None
    if caller is None:
        raise ApiProblem(
            status=401,
            kind="not-authenticated",
            title="Not authenticated",
            detail="Send `Authorization: Bearer <API key>` with a key that has not been revoked.",
            headers={"WWW-Authenticate": "Bearer"},
        )
    return caller


async def _publisher(caller: Annotated[Caller, Depends(_caller)]) -> Caller:
    return _allowed(caller, Scope.PUBLISH)


async def _admin(caller: Annotated[Caller, Depends(_caller)]) -> Caller:
    return _allowed(caller, Scope.ADMIN)


def _allowed(caller: Caller, needed: Scope) -> Caller:
    if not caller.scope.includes(needed):
        raise ApiProblem(
            status=403,
            kind="scope-too-low",
            title="Scope too low",
            detail=f"This key's scope is '{caller.scope}'; this needs '{needed}'.",
        )
    return caller


NeedsKey = Depends(_caller)
"""For a router, so that whoever has no key hears of that before anything else is looked at."""
Reader = Annotated[Caller, Depends(_caller)]
"""Any key: each scope may read."""
StreamReader = Annotated[Caller, Depends(_caller_of_stream)]
"""Any key in the header, or one of scope `read` in the query."""
Publisher = Annotated[Caller, Depends(_publisher)]
"""A key that may publish."""
Admin = Annotated[Caller, Depends(_admin)]
"""A key that may say who is told."""
