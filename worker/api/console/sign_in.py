"""Sign in with an API key or a link, and log out."""

from functools import partial
from typing import Any

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

SIGN_IN = f"{PATH}/sign-in"

router = Router()
session_router = Router(route_class=ConsoleRoute)


@router.get(SIGN_IN)
def show_sign_in(request: Request, after: str = f"{PATH}/") -> Response:
    """Show the form that asks for a key.

    A link has a code after `#`, which browsers do not send: a script puts it into the form.
    """
    return render(request, "sign_in.html", None, after=to_local_path(after), error=None)


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
            partial(begin, runtime.engine, code or key, **_describe_client(request))
        )
    except console_sessions.SignInRefused as error:
        return render(request, "sign_in.html", None, http_status=401, after=after, error=str(error))
    response = RedirectResponse(after, 303)
    set_cookie(request, response, begun.token)
    return response


@session_router.post(f"{PATH}/sign-out")
def sign_out(request: Request, runtime: CurrentRuntime, _: SignedIn) -> Response:
    """End the session, here and in the database."""
    console_sessions.end_session(
        runtime.engine,
        request.cookies[COOKIE],
        client=request.client.host if request.client else None,
        correlation_id=correlation_id(request.scope),
    )
    response = RedirectResponse(SIGN_IN, 303)
    clear_cookie(response)
    return response


def to_local_path(path: str) -> str:
    r"""Return a path of the console; the first page instead of any other address.

    `//host`, `///host` and `/\host` would lead to another site.
    """
    is_ours = path.startswith(f"{PATH}/") and "\\" not in path and path.isprintable()
    return path if is_ours else f"{PATH}/"


def _describe_client(request: Request) -> dict[str, Any]:
    """Return where a sign-in comes from, for the audit log."""
    return {
        "user_agent": request.headers.get("user-agent"),
        "client": request.client.host if request.client else None,
        "correlation_id": correlation_id(request.scope),
    }
