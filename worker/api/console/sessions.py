"""The page of sessions: who is signed in to the console; end sessions of others."""

from collections import Counter
from uuid import UUID

from fastapi import Request, Response
from fastapi.responses import RedirectResponse

from schemas.audit import AuditAction
from worker.api.audit import CurrentActor, audits
from worker.api.auth import CurrentRuntime
from worker.api.console.confirmation import Confirmed
from worker.api.console.forms import read_count
from worker.api.console.rendering import render
from worker.api.console.session import PATH, ConsoleRoute, OperatorSession
from worker.api.console.videos import to_query
from worker.api.problems import ApiProblem, ProblemKind
from worker.api.routing import Router
from worker.operations.open_sessions import end_sessions, list_sessions

SESSIONS = f"{PATH}/sessions/"
NO_SUCH_SESSION = ProblemKind(
    "no-such-session", 404, "No such session: it has ended already. Nothing was changed."
)

router = Router(route_class=ConsoleRoute)


@router.get(SESSIONS)
def show_sessions(request: Request, runtime: CurrentRuntime, session: OperatorSession) -> Response:
    """Show the sessions that have not ended, the last used first."""
    sessions = list_sessions(runtime.engine)
    of_owner = Counter(each.person_id or each.key_id for each in sessions)
    ended = read_count(request.query_params.get("ended"))
    return render(
        request, "sessions.html", session, sessions=sessions, of_owner=of_owner, ended=ended
    )


@router.post(f"{SESSIONS}{{found_id}}/end", dependencies=[audits(AuditAction.SESSION_END)])
def end(
    runtime: CurrentRuntime,
    _session: OperatorSession,
    _confirmed: Confirmed,
    actor: CurrentActor,
    found_id: UUID,
) -> Response:
    """End a session, or all of a person or a key, at once; this one too if it is among them."""
    policy = runtime.settings.access_policy()
    ended = end_sessions(runtime.engine, found_id, actor, policy)
    if not ended:
        raise ApiProblem(NO_SUCH_SESSION)
    return RedirectResponse(f"{SESSIONS}{to_query({'ended': ended})}", 303)
