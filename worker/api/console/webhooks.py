"""Pages of webhooks: endpoints with what waits for each, their deliveries, and each attempt."""

from typing import Any
from uuid import UUID

from fastapi import Request, Response
from fastapi.responses import RedirectResponse

from schemas.webhook import DeliveryFilter, DeliveryState, EndpointFilter, WebhookTest
from worker.api.auth import CurrentRuntime
from worker.api.console.failures import to_filter
from worker.api.console.forms import read_count
from worker.api.console.rendering import render
from worker.api.console.session import PATH, ConsoleRoute, SignedIn, may_administer
from worker.api.console.videos import to_query
from worker.api.routing import Router
from worker.operations.console_sessions import ConsoleSession
from worker.runtime.runtime import Runtime
from worker.webhooks import deliveries, endpoints
from worker.webhooks.backlogs import MOST, read_backlogs

WEBHOOKS = f"{PATH}/webhooks/"
DONE = {
    "changed": "The endpoint was changed.",
    "enabled": "The endpoint is enabled. It receives events from now on; replay what it missed.",
    "disabled": "The endpoint is disabled. Nothing is sent to it.",
    "deleted": "The endpoint was deleted.",
}
"""What the page says after a change."""
STATE_STYLES = {
    DeliveryState.PENDING: "calm",
    DeliveryState.DELIVERED: "good",
    DeliveryState.FAILED: "bad",
    DeliveryState.CANCELLED: "warn",
}

router = Router(route_class=ConsoleRoute)


@router.get(WEBHOOKS)
def show_endpoints(request: Request, runtime: CurrentRuntime, session: SignedIn) -> Response:
    """Show a page of endpoints, the newest first."""
    names = tuple(EndpointFilter.model_fields)
    wanted: EndpointFilter = to_filter(EndpointFilter, dict(request.query_params), names)
    page = endpoints.list_page(runtime.engine, wanted, session.caller.workspace_id)
    last = page.next_after
    return render(
        request,
        "webhooks.html",
        session,
        page=page.items,
        backlogs=read_backlogs(runtime.engine, [each.id for each in page.items]),
        most=MOST,
        wanted=wanted,
        older=last and _to_older(wanted, last.id),
        done=DONE.get(request.query_params.get("done", "")),
        may_administer=may_administer(session),
    )


@router.get(f"{WEBHOOKS}{{endpoint_id}}")
def show_endpoint(
    request: Request, runtime: CurrentRuntime, session: SignedIn, endpoint_id: UUID
) -> Response:
    """Show an endpoint with a page of its deliveries, the highest position first."""
    return render_endpoint(request, runtime, session, endpoint_id, dict(request.query_params))


def render_endpoint(
    request: Request,
    runtime: Runtime,
    session: ConsoleSession,
    endpoint_id: UUID,
    query: dict[str, str],
    test: WebhookTest | None = None,
) -> Response:
    """Show an endpoint; after a test, with its result. Raises NoSuchEndpoint."""
    workspace_id = session.caller.workspace_id
    wanted: DeliveryFilter = to_filter(DeliveryFilter, query, tuple(DeliveryFilter.model_fields))
    page = deliveries.list_page(runtime.engine, endpoint_id, wanted, workspace_id)
    last = page.next_after
    return render(
        request,
        "webhook.html",
        session,
        endpoint=endpoints.show(runtime.engine, endpoint_id, workspace_id),
        backlog=read_backlogs(runtime.engine, [endpoint_id])[endpoint_id],
        most=MOST,
        deliveries=page.items,
        wanted=wanted,
        states=list(DeliveryState),
        state_styles=STATE_STYLES,
        address=f"{WEBHOOKS}{endpoint_id}",
        shown=to_query(wanted.model_dump(mode="json", exclude_defaults=True)),
        older=last and _to_older(wanted, last.position),
        done=DONE.get(query.get("done", "")),
        replayed=read_count(query.get("replayed")),
        next_position=read_count(query.get("next")),
        test=test,
        may_administer=may_administer(session),
    )


@router.get(f"{WEBHOOKS}{{endpoint_id}}/deliveries/{{delivery_id}}")
def show_delivery(
    request: Request,
    runtime: CurrentRuntime,
    session: SignedIn,
    endpoint_id: UUID,
    delivery_id: UUID,
) -> Response:
    """Show a delivery, and what the receiver answered to each attempt."""
    workspace_id = session.caller.workspace_id
    return render(
        request,
        "webhook_delivery.html",
        session,
        endpoint=endpoints.show(runtime.engine, endpoint_id, workspace_id),
        delivery=deliveries.show(runtime.engine, endpoint_id, delivery_id, workspace_id),
        state_styles=STATE_STYLES,
        address=f"{WEBHOOKS}{endpoint_id}",
        replayed=read_count(request.query_params.get("replayed")),
        may_administer=may_administer(session),
    )


def lead_to(path: str, **query: Any) -> Response:
    """Lead to a page of webhooks, which says what was done."""
    return RedirectResponse(f"{WEBHOOKS}{path}{to_query(query) if query else ''}", 303)


def _to_older(wanted: EndpointFilter | DeliveryFilter, last: UUID | int) -> str:
    older = wanted.model_copy(update={"before": last})
    return to_query(older.model_dump(mode="json", exclude_defaults=True))
