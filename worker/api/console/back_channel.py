"""Back-channel log-out: the provider says, server to server, who has logged out there."""

from typing import TYPE_CHECKING

import structlog
from anyio import to_thread
from fastapi import Request, Response
from fastapi.responses import JSONResponse

from worker.api.admission import current_turn
from worker.api.auth import CurrentRuntime
from worker.api.console.forms import SubmittedForm
from worker.api.console.oidc import BEGIN
from worker.api.middleware import correlation_id
from worker.api.oidc.refusals import SignInFailed, to_invalid
from worker.api.problems import NO_SUCH_PAGE, ApiProblem
from worker.api.routing import Router
from worker.operations.open_sessions import end_at_provider
from worker.runtime.runtime import Runtime

if TYPE_CHECKING:
    from worker.api.oidc.provider import IdentityProvider

BACK_CHANNEL = f"{BEGIN}/back-channel-logout"
HEADERS = {"Cache-Control": "no-store"}

router = Router()
log: structlog.stdlib.BoundLogger = structlog.stdlib.get_logger(__name__)


@router.post(BACK_CHANNEL)
async def log_out(request: Request, runtime: CurrentRuntime, form: SubmittedForm) -> Response:
    """End the sessions that a logout token names; again is not an error.

    The token's signature says that it is the provider's: the request needs no session.
    """
    provider: IdentityProvider | None = request.app.state.identity_provider
    if provider is None:
        raise ApiProblem(NO_SUCH_PAGE)
    current_turn(request).join(provider.logout_account)
    client = request.client.host if request.client else None
    try:
        ended = await _end_sessions(request, runtime, provider, form.get("logout_token"))
    except SignInFailed as error:
        log.warning("back_channel.refused", client=client, reason=error.reason)
        refusal = {"error": "invalid_request", "error_description": error.reason}
        return JSONResponse(refusal, 400, HEADERS)
    log.info("back_channel.logged_out", sessions=ended)
    return Response(status_code=200, headers=HEADERS)


async def _end_sessions(
    request: Request, runtime: Runtime, provider: "IdentityProvider", text: str | None
) -> int:
    if not text:
        raise to_invalid("logout_token: there is none")
    async with current_turn(request).waiting():
        logout = await provider.read_logout(text)
    return await to_thread.run_sync(
        lambda: end_at_provider(
            runtime.engine,
            logout,
            runtime.settings.access_policy(),
            client=request.client.host if request.client else None,
            correlation_id=correlation_id(request.scope),
        )
    )
