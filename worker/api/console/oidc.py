"""Sign in with the identity provider: to the provider, and back with a code.

The provider's answer is a navigation from another site. The session's cookie is SameSite=Strict, so
no browser would send it there: a cookie of its own, which is Lax, belongs to the sign-in, and the
answer is a page that leads on, since a navigation from our own page has the session's cookie.
"""

from functools import partial
from typing import TYPE_CHECKING, Any

import structlog
from anyio import to_thread
from fastapi import Request, Response
from fastapi.responses import RedirectResponse

from worker.api.admission import current_turn
from worker.api.auth import CurrentRuntime
from worker.api.console.rendering import HEADERS, render
from worker.api.console.session import set_cookie, uses_tls
from worker.api.console.sign_in import SIGN_IN, describe_client, show_form, to_local_path
from worker.api.oidc.refusals import SignInFailed, to_no_sign_out, to_refused, to_unknown_attempt
from worker.api.problems import NO_SUCH_PAGE, ApiProblem
from worker.api.routing import Router
from worker.operations import people
from worker.operations.console_sessions import SignInRefused
from worker.runtime.runtime import Runtime

if TYPE_CHECKING:
    from worker.api.oidc.provider import IdentityProvider

BEGIN = f"{SIGN_IN}/oidc"
CALLBACK = f"{BEGIN}/callback"
LEAVE = f"{BEGIN}/leave"
COOKIE = "publish_worker_sign_in_"
"""The begin of its name; the begin of the state follows, so that two tabs can sign in at once."""
STATE_IN_NAME = 8
MAX_TABS = 5
"""Sign-ins of one browser that are under way; one more ends those."""
MAX_PATH = 2_000
"""Characters of the page that was asked for."""

router = Router()
log: structlog.stdlib.BoundLogger = structlog.stdlib.get_logger(__name__)


@router.get(BEGIN)
async def begin(request: Request, runtime: CurrentRuntime, after: str = "") -> Response:
    """Send the browser to the provider; `after` is the page to come back to."""
    provider = _admit(request)
    attempt = people.make_attempt()
    try:
        async with current_turn(request).waiting():
            url = await provider.find_sign_in_url(attempt)
    except SignInFailed as error:
        return _show_failure(request, error)
    shown = to_local_path(after[:MAX_PATH])
    await to_thread.run_sync(people.begin_attempt, runtime.engine, attempt, shown)
    response = _lead_to_provider(url)
    begun = [name for name in request.cookies if name.startswith(COOKIE)]
    for name in begun if len(begun) >= MAX_TABS else ():
        _delete_cookie(response, name)
    response.set_cookie(
        _name_cookie(attempt.state),
        attempt.token,
        max_age=int(people.ATTEMPT_AGE.total_seconds()),
        path=BEGIN,
        secure=uses_tls(request),
        httponly=True,
        samesite="lax",
    )
    return response


@router.get(CALLBACK)
async def complete(
    request: Request,
    runtime: CurrentRuntime,
    state: str = "",
    code: str = "",
    error: str = "",
    iss: str | None = None,
) -> Response:
    """Begin a session of the person who comes back from the provider."""
    provider = _admit(request)
    is_used = False
    try:
        attempt = _find_attempt(request, state)
        after = await to_thread.run_sync(people.redeem_attempt, runtime.engine, attempt)
        is_used = True
        if after is None:
            raise to_unknown_attempt()
        if error or not code:
            raise to_refused(error or "no_code")
        async with current_turn(request).waiting():
            identity = await provider.identify(attempt, code, iss)
        response = await _open_session(request, runtime, identity, after)
    except (SignInFailed, SignInRefused) as failure:
        response = _show_failure(request, failure)
    if is_used:
        _delete_cookie(response, _name_cookie(state))
    return response


@router.get(LEAVE)
async def leave(request: Request) -> Response:
    """Lead a person, who has logged out here, to the provider's own log-out."""
    provider = _admit(request)
    try:
        async with current_turn(request).waiting():
            url = await provider.find_sign_out_url()
        if url is None:
            raise to_no_sign_out()
    except SignInFailed as error:
        return _show_failure(request, error)
    return _lead_to_provider(url)


def _lead_to_provider(url: str) -> RedirectResponse:
    return RedirectResponse(url, 303, {**HEADERS, "Referrer-Policy": "no-referrer"})


def _name_cookie(state: str) -> str:
    return f"{COOKIE}{state[:STATE_IN_NAME]}"


def _delete_cookie(response: Response, name: str) -> None:
    response.delete_cookie(name, path=BEGIN, httponly=True, samesite="lax")


async def _open_session(
    request: Request, runtime: Runtime, identity: people.ProviderIdentity, after: str
) -> Response:
    """Return the page that leads on, with the session's cookie. Raises SignInRefused."""
    create: Any = partial(
        people.create_persons_session,
        runtime.engine,
        identity,
        runtime.settings.access_policy(),
        **describe_client(request),
    )
    begun = await to_thread.run_sync(create)
    # The address of this page has the code: no further request may name it.
    headers = {"Referrer-Policy": "no-referrer"}
    response = render(request, "signed_in.html", None, headers=headers, after=after)
    set_cookie(request, response, begun.token)
    return response


def _admit(request: Request) -> "IdentityProvider":
    """Return the provider, if there is one, and if not too many people sign in at once."""
    provider: IdentityProvider | None = request.app.state.identity_provider
    if provider is None:
        raise ApiProblem(NO_SUCH_PAGE)
    current_turn(request).join(provider.account)
    return provider


def _find_attempt(request: Request, state: str) -> people.SignInAttempt:
    """Return the sign-in that this browser has begun. Raises SignInFailed for any other state."""
    token = request.cookies.get(_name_cookie(state))
    attempt = people.SignInAttempt(token=token) if token else None
    if attempt is None or not attempt.has_state(state):
        raise to_unknown_attempt()
    return attempt


def _show_failure(request: Request, error: SignInFailed | SignInRefused) -> Response:
    """Show the form, with what went wrong. Codes and tokens are in neither page nor log."""
    if isinstance(error, SignInRefused):  # to sign in as another person, this one leaves first
        return show_form(request, error=str(error), http_status=403, has_left=True)
    client = request.client.host if request.client else None
    log.warning("session.refused", client=client, reason=error.reason)
    return show_form(request, error=str(error), http_status=error.status)
