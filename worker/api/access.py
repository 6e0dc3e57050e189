"""Who is calling: the API key in `Authorization: Bearer …`, and what it may do."""

from typing import Annotated

from fastapi import Depends, Request
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer

from schemas.access import Caller, Scope
from worker.access import identify
from worker.api.problems import ApiProblem
from worker.app import Process

_bearer = HTTPBearer(auto_error=False, description="An API key: `publish-worker keys create`.")


async def here(request: Request) -> Process:
    """What this process works with."""
    return request.app.state.process


Here = Annotated[Process, Depends(here)]


def _caller(
    process: Here, credentials: Annotated[HTTPAuthorizationCredentials | None, Depends(_bearer)]
) -> Caller:
    caller = identify(process.engine, credentials.credentials) if credentials else None
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
    if not caller.scope.includes(Scope.PUBLISH):
        raise ApiProblem(
            status=403,
            kind="scope-too-low",
            title="Scope too low",
            detail=f"This key's scope is '{caller.scope}'; this needs '{Scope.PUBLISH}'.",
        )
    return caller


NeedsKey = Depends(_caller)
"""For a router, so that whoever has no key hears of that before anything else is looked at."""
Reader = Annotated[Caller, Depends(_caller)]
"""Any key: each scope may read."""
Publisher = Annotated[Caller, Depends(_publisher)]
"""A key that may publish."""
