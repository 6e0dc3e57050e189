"""Addresses of iCal feeds: create, list and revoke them. An address is shown once."""

from uuid import UUID

from fastapi import Request, Response
from fastapi.responses import RedirectResponse

from schemas.audit import AuditAction
from worker.api.audit import CurrentActor, audits
from worker.api.auth import CurrentRuntime
from worker.api.console.calendar_range import CALENDAR
from worker.api.console.confirmation import Confirmed
from worker.api.console.forms import SubmittedForm, to_number
from worker.api.console.rendering import render
from worker.api.console.session import AdminSession, ConsoleRoute, SignedIn, may_administer
from worker.api.problems import ApiProblem, ProblemKind
from worker.api.routes.ical import ADDRESS
from worker.api.routing import Router
from worker.operations import calendar_feeds
from worker.operations.calendar_feeds import FeedRefused
from worker.operations.console_sessions import ConsoleSession
from worker.runtime.runtime import Runtime

FEEDS = f"{CALENDAR}feeds"
NO_SUCH_FEED = ProblemKind(
    "no-such-feed", 404, "Nothing was done. There is no such feed, or it was revoked already."
)
FEED_REFUSED = ProblemKind("feed-refused", 409, "Nothing was done. The feed was not created.")

router = Router(route_class=ConsoleRoute)


@router.get(FEEDS)
def show_feeds(request: Request, runtime: CurrentRuntime, session: SignedIn) -> Response:
    """Show the addresses of a workspace, without their tokens."""
    return _render(request, runtime, session)


@router.post(FEEDS, dependencies=[audits(AuditAction.CALENDAR_FEED_CREATE)])
def create_feed(
    request: Request,
    runtime: CurrentRuntime,
    session: AdminSession,
    by: CurrentActor,
    form: SubmittedForm,
) -> Response:
    """Create an address, and show it: this page alone has it."""
    own = session.caller.workspace_id
    workspace_id = own if own is not None else to_number(form.get("workspace", ""))
    try:
        feed = calendar_feeds.create_feed(runtime.engine, workspace_id, own, by)
    except FeedRefused as error:
        raise ApiProblem(FEED_REFUSED, f"Nothing was done. {error}") from error
    address = runtime.settings.public_base_url.rstrip("/") + ADDRESS.format(token=feed.token)
    return _render(request, runtime, session, address)


@router.post(f"{FEEDS}/{{feed_id}}/revoke", dependencies=[audits(AuditAction.CALENDAR_FEED_REVOKE)])
def revoke_feed(
    runtime: CurrentRuntime,
    session: AdminSession,
    _confirmed: Confirmed,
    by: CurrentActor,
    feed_id: UUID,
) -> Response:
    """Revoke an address: calendar programs that use it get 404 from now on."""
    if not calendar_feeds.revoke_feed(runtime.engine, feed_id, session.caller.workspace_id, by):
        raise ApiProblem(NO_SUCH_FEED)
    return RedirectResponse(FEEDS, 303)


def _render(
    request: Request, runtime: Runtime, session: ConsoleSession, address: str | None = None
) -> Response:
    return render(
        request,
        "calendar_feeds.html",
        session,
        feeds=calendar_feeds.list_feeds(runtime.engine, session.caller.workspace_id),
        address=address,
        may_administer=may_administer(session),
    )
