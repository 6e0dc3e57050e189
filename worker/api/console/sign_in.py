"""Sign in with an API key or a link, and log out. `oidc.py` has the identity provider."""

from functools import partial
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

from anyio import to_thread
from fastapi import Request, Response
from fastapi.responses import RedirectResponse

from worker.api.auth import CurrentRuntime
from worker.api.console.forms import read_form
from worker.api.console.rendering import render
from worker.api.console.session import (
    COOKIE,
    PATH,
    ConsoleRoute,
    SignedIn,
    clear_cookie,
    refuse_other_sites,
    set_cookie,
)
from worker.api.middleware import correlation_id
from worker.api.routing import Router
from worker.operations import console_sessions

if TYPE_CHECKING:
    from worker.api.oidc.provider import IdentityProvider

SIGN_IN = f"{PATH}/sign-in"

router = Router()
session_router = Router(route_class=ConsoleRoute)


@router.get(SIGN_IN)
async def show_sign_in(request: Request, after: str = f"{PATH}/", left: str = "") -> Response:
    """Show the form that asks for a key, and the way to the identity provider.

    A link has a code after `#`, which browsers do not send: a script puts it into the form. `left`:
    the person has logged out here, and not of the provider.
    """
    return show_form(request, after=after, has_left=bool(left))


def show_form(
    request: Request,
    *,
    after: str = "",
    error: str | None = None,
    http_status: int = 200,
    has_left: bool = False,
) -> Response:
    """Show the form, with the error of the last attempt."""
    provider: IdentityProvider | None = request.app.state.identity_provider
    return render(
        request,
        "sign_in.html",
        None,
        http_status=http_status,
        after=to_local_path(after),
        error=error,
        correlation_id=correlation_id(request.scope),
        provider=provider and provider.name,
        has_left=has_left,
    )


@router.post(SIGN_IN)
async def sign_in(request: Request, runtime: CurrentRuntime) -> Response:
    """Exchange an API key, or the code of a link, for a session. The browser keeps neither."""
    refuse_other_sites(request)
    form = await read_form(request)
    after = to_local_path(form.get("after", ""))
    code, key = form.get("code"), form.get("key", "").strip()
    begin = console_sessions.redeem_sign_in_code if code else console_sessions.create_session
    try:
        begun = await to_thread.run_sync(
            partial(begin, runtime.engine, code or key, **describe_client(request))
        )
    except console_sessions.SignInRefused as error:
        return show_form(request, after=after, error=str(error), http_status=401)
    response = RedirectResponse(after, 303)
    set_cookie(request, response, begun.token)
    return response


@session_router.post(f"{PATH}/sign-out")
def sign_out(request: Request, runtime: CurrentRuntime, session: SignedIn) -> Response:
    """End the session, here and in the database; a person may leave the provider next."""
    console_sessions.end_session(
        runtime.engine,
        request.cookies[COOKIE],
        client=request.client.host if request.client else None,
        correlation_id=correlation_id(request.scope),
        policy=runtime.settings.access_policy(),
    )
    response = RedirectResponse(f"{SIGN_IN}?left=yes" if session.caller.person else SIGN_IN, 303)
    clear_cookie(response)
    return response


def to_local_path(path: str) -> str:
    r"""Return a path of the console; the first page instead of any other address.

    `//host`, `///host` and `/\host` would lead to another site, `..` out of the console, and
    another sign-in would begin again.
    """
    is_local = path.startswith(f"{PATH}/") and "\\" not in path and path.isprintable()
    leads_away = ".." in unquote(path.partition("?")[0]) or path.startswith(SIGN_IN)
    return path if is_local and not leads_away else f"{PATH}/"


def describe_client(request: Request) -> dict[str, Any]:
    """Return where a sign-in comes from, for the audit log."""
    return {
        "user_agent": request.headers.get("user-agent"),
        "client": request.client.host if request.client else None,
        "correlation_id": correlation_id(request.scope),
    }
