"""Sign in with an API key or a link, and log out."""

from urllib.parse import urlsplit

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
from worker.api.routing import Router
from worker.operations import console_sessions

SIGN_IN = f"{PATH}/sign-in"
WRONG_KEY = "This key is unknown, was revoked, or has the scope events, which cannot sign in."
WRONG_LINK = "This link was used already, or has expired. Sign in with an API key."

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
    code, agent = form.get("code"), request.headers.get("user-agent")
    exchange = console_sessions.redeem_sign_in_code if code else console_sessions.create_session
    secret = code or form.get("key", "").strip()
    token = await to_thread.run_sync(exchange, runtime.engine, secret, agent)
    if token is None:
        error = WRONG_LINK if code else WRONG_KEY
        return render(request, "sign_in.html", None, http_status=401, after=after, error=error)
    response = RedirectResponse(after, 303)
    set_cookie(request, response, token)
    return response


@session_router.post(f"{PATH}/sign-out")
def sign_out(request: Request, runtime: CurrentRuntime, _: SignedIn) -> Response:
    """End the session, here and in the database."""
    console_sessions.end_session(runtime.engine, request.cookies[COOKIE])
    response = RedirectResponse(SIGN_IN, 303)
    clear_cookie(response)
    return response


def to_local_path(path: str) -> str:
    r"""Return a path of the console; the first page instead of any other address.

    `//host` and `/\host` would lead to another site.
    """
    parts = urlsplit(path)
    is_ours = not parts.scheme and not parts.netloc and parts.path.startswith(f"{PATH}/")
    return path if is_ours and "\\" not in path and path.isprintable() else f"{PATH}/"
