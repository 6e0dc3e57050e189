"""Who is signed in: the cookie of a session, and the token that each change must repeat."""

from typing import Annotated
from urllib.parse import urlsplit

from fastapi import Depends, Request, Response

from db.loop_sessions import LoopPool
from schemas.values.caller import Caller, Scope
from worker.api.auth import Identifier
from worker.api.console.forms import read_form
from worker.api.key_cache import KeyCache
from worker.api.problems import SCOPE_TOO_LOW, ApiProblem, ProblemKind
from worker.api.routing import WITHOUT_BODY, GuardedRoute
from worker.operations.console_sessions import AGE, ConsoleSession, find_session
from worker.runtime.runtime import Runtime

COOKIE = "publish_worker_console"
PATH = "/console"
CSRF_FIELD = "csrf"
CSRF_HEADER = "x-csrf-token"

SESSIONS = 2
"""Sessions of the database for what each page reads first. No thread waits for them."""

NOT_SIGNED_IN = ProblemKind("not-signed-in", 401, "Sign in to see this page.")
FORGED = ProblemKind(
    "request-from-another-page",
    403,
    "Nothing was done. The request did not come from a page of this session: load the page again.",
)


async def identify_session(request: Request) -> Caller:
    """The caller whose session the cookie names. Raises ApiProblem."""
    runtime: Runtime = request.app.state.runtime
    token, policy = request.cookies.get(COOKIE), runtime.settings.access_policy()
    found = await get_pool(request).read(find_session, token, policy) if token else None
    if found is None:
        raise ApiProblem(NOT_SIGNED_IN)
    request.state.session = found
    keys: KeyCache = request.app.state.keys
    if found.caller.key_id:
        keys.note_use(found.caller.key_id)
    return found.caller


async def _signed_in(request: Request) -> ConsoleSession:
    """The session that `identify_session` found; a change must come from one of its pages."""
    session: ConsoleSession = request.state.session
    if request.method not in WITHOUT_BODY:
        given = request.headers.get(CSRF_HEADER) or (await read_form(request)).get(CSRF_FIELD, "")
        if not session.has_csrf_token(given):
            raise ApiProblem(FORGED)
    return session


def refuse_other_sites(request: Request) -> None:
    """Refuse a form that another site has sent, where there is no session yet. Raises ApiProblem.

    Browsers say where a request comes from (Fetch Metadata); older ones at least send its origin.
    """
    site = request.headers.get("sec-fetch-site")
    is_own = _is_own_origin(request) if site is None else site in ("same-origin", "none")
    if not is_own:
        raise ApiProblem(FORGED)


def _is_own_origin(request: Request) -> bool:
    """Whether `Origin` names this server: Fetch Metadata is sent over https and to localhost only.

    Programs send no origin.
    """
    origin = request.headers.get("origin")
    runtime: Runtime = request.app.state.runtime
    own = (request.url.netloc, urlsplit(runtime.settings.public_base_url).netloc)
    return origin is None or urlsplit(origin).netloc in own


def may_publish(session: ConsoleSession) -> bool:
    """Whether the key may change commands."""
    return session.caller.scope.includes(Scope.PUBLISH)


def may_administer(session: ConsoleSession) -> bool:
    """Whether the key may change webhook endpoints and API keys."""
    return session.caller.scope.includes(Scope.ADMIN)


def require_scope(session: ConsoleSession, needed: Scope) -> None:
    """Refuse a key that may not do this. Raises ApiProblem."""
    if not session.caller.scope.includes(needed):
        detail = f"The scope of this session is '{session.caller.scope}'; this needs '{needed}'."
        raise ApiProblem(SCOPE_TOO_LOW, detail)


def uses_tls(request: Request) -> bool:
    """Whether browsers reach this server by TLS alone: cookies are then sent by it only."""
    runtime: Runtime = request.app.state.runtime
    return "https" in (request.url.scheme, runtime.settings.public_base_url.partition(":")[0])


def set_cookie(request: Request, response: Response, token: str) -> None:
    """Give the browser the session: for this site only, and out of reach of scripts."""
    response.set_cookie(
        COOKIE,
        token,
        max_age=int(AGE.total_seconds()),
        path=PATH,
        secure=uses_tls(request),
        httponly=True,
        samesite="strict",
    )


def clear_cookie(response: Response) -> None:
    """Take the session away from the browser."""
    response.delete_cookie(COOKIE, path=PATH, httponly=True, samesite="strict")


def get_pool(request: Request) -> LoopPool:
    """Return the pool for what each page reads first."""
    return request.app.state.console_pool


class ConsoleRoute(GuardedRoute):
    """A route that needs a session; a change must come from one of its pages."""

    has_one_address = True

    def find_identifier(self) -> Identifier:
        """The caller is the session's."""
        return identify_session


SignedIn = Annotated[ConsoleSession, Depends(_signed_in)]
"""The session of the person who looks at the page; each route of the console needs it."""


async def _require_publish(session: SignedIn) -> ConsoleSession:
    require_scope(session, Scope.PUBLISH)
    return session


PublisherSession = Annotated[ConsoleSession, Depends(_require_publish)]
"""A session whose key may publish."""


async def _require_admin(session: SignedIn) -> ConsoleSession:
    require_scope(session, Scope.ADMIN)
    return session


async def _require_every_workspace(session: SignedIn) -> ConsoleSession:
    if session.caller.workspace_id is not None:
        detail = (
            "This belongs to no workspace, or to all of them: it needs a key of every workspace."
        )
        raise ApiProblem(SCOPE_TOO_LOW, detail)
    return session


EveryWorkspaceSession = Annotated[ConsoleSession, Depends(_require_every_workspace)]
"""A session whose key sees every workspace: for what belongs to none, or to all."""


async def _require_operator(session: EveryWorkspaceSession) -> ConsoleSession:
    require_scope(session, Scope.ADMIN)
    return session


OperatorSession = Annotated[ConsoleSession, Depends(_require_operator)]
"""A session whose key sees every workspace, and may change what belongs to none, or to all."""


AdminSession = Annotated[ConsoleSession, Depends(_require_admin)]
"""A session whose key may change webhook endpoints and API keys."""
