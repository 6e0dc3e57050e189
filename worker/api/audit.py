"""The audit log at the API and the console: who asks, and requests that were refused or failed.

A route that changes something depends on `audits(action)` and passes `CurrentActor` to the function
that makes the change, which records it in its own transaction. `GuardedRoute` calls
`record_failure` with the errors of such routes.
"""

import time
from collections import Counter
from collections.abc import Callable
from typing import Annotated, Any
from uuid import UUID

import structlog
from anyio import to_thread
from fastapi import Depends, Request
from fastapi.dependencies.models import Dependant
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException

from db.errors import is_away
from schemas.audit import AuditAction, AuditOutcome, AuditSubject, Door
from schemas.values.actor import Actor, AuditRecord
from schemas.values.caller import Caller
from worker.api import problems
from worker.api.auth import AnyCaller
from worker.api.exception_handlers import find_kind
from worker.api.middleware import correlation_id
from worker.operations.audit import record_end, to_actor
from worker.runtime.runtime import Runtime

PER_MINUTE = 60
"""Refused requests of a caller that one process records in a minute; others are in its log."""
UNREADABLE = (
    problems.MALFORMED_REQUEST,
    problems.MALFORMED_JSON,
    problems.REQUEST_TIMEOUT,
    problems.BODY_TOO_LARGE,
    problems.NOT_JSON,
    problems.NOT_CONFIRMED,
)
"""Problems of requests that ask for nothing."""
SUBJECTS = {
    "command_id": AuditSubject.COMMAND,
    "delivery_id": AuditSubject.WEBHOOK_DELIVERY,
    "endpoint_id": AuditSubject.WEBHOOK_ENDPOINT,
    "key_id": AuditSubject.API_KEY,
    "feed_id": AuditSubject.CALENDAR_FEED,
    "message_id": AuditSubject.QUARANTINED_MESSAGE,
}
"""The parameters of paths that name a subject; the first one that a path has."""

log: structlog.stdlib.BoundLogger = structlog.stdlib.get_logger(__name__)


class _Audits:
    """A dependency that says which action a route is."""

    def __init__(self, action: AuditAction) -> None:
        self.action = action

    async def __call__(self) -> None:
        """Do nothing: `find_action` reads the action when the route is made."""


async def _actor(request: Request, caller: AnyCaller) -> Actor:
    return _to_actor(request, caller)


CurrentActor = Annotated[Actor, Depends(_actor)]
"""Who asks for a change: the API key or the person, and where the request comes from."""


def audits(action: AuditAction) -> Any:
    """Declare, among a route's dependencies, which action of the audit log it is."""
    return Depends(_Audits(action))


def find_action(dependant: Dependant) -> AuditAction | None:
    """Return the action of a route with these dependencies. None: it is not audited."""
    for each in dependant.dependencies:
        if isinstance(each.call, _Audits):
            return each.call.action
    return None


async def record_failure(request: Request, action: AuditAction, error: Exception) -> None:
    """Record that a request of a known caller was refused, or has failed."""
    caller: Caller | None = request.state.caller
    kind = find_kind(request, error)
    is_unreadable = isinstance(error, RequestValidationError | HTTPException) or kind in UNREADABLE
    if caller is None or is_unreadable or is_away(error):
        return
    limit: RefusalLimit = request.app.state.refusal_limit
    if not limit.count(caller.id):
        log.warning("audit.refusal_not_recorded", caller_id=str(caller.id), action=action)
        return
    has_failed = kind.status >= 500  # noqa: PLR2004
    outcome = AuditOutcome.FAILED if has_failed else AuditOutcome.REFUSED
    runtime: Runtime = request.app.state.runtime
    attempt = _to_attempt(request, caller, action)
    await to_thread.run_sync(record_end, runtime.engine, attempt, outcome, kind.name)


class RefusalLimit:
    """Bounds how much a caller can write to the audit log by requests that are refused."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._minute = 0
        self._counts: Counter[UUID] = Counter()

    def count(self, caller_id: UUID) -> bool:
        """Count a refused request. Returns whether it may be recorded."""
        minute = int(self._clock() // 60)
        if minute != self._minute:
            self._minute = minute
            self._counts.clear()
        self._counts[caller_id] += 1
        return self._counts[caller_id] <= PER_MINUTE


def _to_attempt(request: Request, caller: Caller, action: AuditAction) -> AuditRecord:
    found = [name for name in SUBJECTS if name in request.path_params]
    subject_id = _to_uuid(request.path_params[found[0]]) if found else None
    return AuditRecord(
        actor=_to_actor(request, caller),
        action=action,
        subject=SUBJECTS[found[0]] if found else None,
        subject_id=subject_id,
        workspace_id=caller.workspace_id,
    )


def _to_actor(request: Request, caller: Caller) -> Actor:
    return to_actor(
        caller,
        Door.CONSOLE if hasattr(request.state, "session") else Door.API,
        client=request.client.host if request.client else None,
        correlation_id=correlation_id(request.scope),
    )


def _to_uuid(text: str) -> UUID | None:
    """Return the id in a path. None: it is not one."""
    try:
        return UUID(text)
    except ValueError:
        return None
