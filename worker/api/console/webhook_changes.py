"""Changes of webhooks: create, edit, disable, delete, rotate, test and replay, by the functions
that the API's routes call, within the same quotas.
"""

from typing import Any, TypeVar
from uuid import UUID

from fastapi import Request, Response
from pydantic import BaseModel, ValidationError

from publish_worker_client.events.names import EventType
from schemas.audit import AuditAction
from schemas.webhook import (
    EndpointState,
    ReplayRequest,
    WebhookEndpoint,
    WebhookEndpointChange,
    WebhookRegistration,
)
from worker.api.audit import CurrentActor, audits
from worker.api.auth import CurrentRuntime
from worker.api.console.confirmation import Confirmed
from worker.api.console.forms import SubmittedForm, is_whole, keep_form, to_field_errors
from worker.api.console.rendering import render
from worker.api.console.session import AdminSession, ConsoleRoute
from worker.api.console.webhooks import WEBHOOKS, lead_to, render_endpoint
from worker.api.problems import invalid_request
from worker.api.routes.webhooks import MAX_WAITING
from worker.api.routing import Router
from worker.api.webhook_quotas import CurrentQuotas
from worker.webhooks import deliveries, endpoints
from worker.webhooks.test_event import send_test_event

NEW = f"{WEBHOOKS}new"
ENDPOINT = f"{WEBHOOKS}{{endpoint_id}}"
FORM = "webhook_form.html"
M = TypeVar("M", bound=BaseModel)

router = Router(route_class=ConsoleRoute)


@router.get(NEW)
def show_new(request: Request, session: AdminSession) -> Response:
    """Show the form for an endpoint."""
    return render(request, FORM, session, **_to_form_values(None, {}), detail=None, errors=[])


@router.post(NEW, dependencies=[audits(AuditAction.WEBHOOK_ENDPOINT_CREATE)])
def create(
    request: Request,
    runtime: CurrentRuntime,
    session: AdminSession,
    actor: CurrentActor,
    form: SubmittedForm,
) -> Response:
    """Create an endpoint, and show its secret, once."""
    keep_form(request, FORM, **_to_form_values(None, form))
    fields = _read_fields(form)
    if workspace := form.get("workspace_id", "").strip():
        fields["workspace_id"] = int(workspace) if is_whole(workspace) else workspace
    created = endpoints.create(
        runtime.engine,
        _validate(WebhookRegistration, fields),
        session.caller.workspace_id,
        allow_private=runtime.settings.webhooks_allow_private,
        by=actor,
    )
    return render(request, "webhook_secret.html", session, endpoint=created, is_new=True)


@router.get(f"{ENDPOINT}/edit")
def show_edit(
    request: Request, runtime: CurrentRuntime, session: AdminSession, endpoint_id: UUID
) -> Response:
    """Show the form for a change."""
    endpoint = endpoints.show(runtime.engine, endpoint_id, session.caller.workspace_id)
    values = _to_form_values(endpoint, _to_form(endpoint))
    return render(request, FORM, session, **values, detail=None, errors=[])


@router.post(f"{ENDPOINT}/edit", dependencies=[audits(AuditAction.WEBHOOK_ENDPOINT_UPDATE)])
def edit(
    request: Request,
    runtime: CurrentRuntime,
    session: AdminSession,
    actor: CurrentActor,
    endpoint_id: UUID,
    form: SubmittedForm,
) -> Response:
    """Change the URL, the types and the description, as far as they differ."""
    workspace_id = session.caller.workspace_id
    endpoint = endpoints.show(runtime.engine, endpoint_id, workspace_id)
    keep_form(request, FORM, **_to_form_values(endpoint, form))
    before = endpoint.model_dump(mode="json")
    fields = {name: value for name, value in _read_fields(form).items() if value != before[name]}
    if fields:
        endpoints.update(
            runtime.engine,
            endpoint_id,
            _validate(WebhookEndpointChange, fields),
            workspace_id,
            allow_private=runtime.settings.webhooks_allow_private,
            by=actor,
        )
    return lead_to(str(endpoint_id), done="changed")


@router.post(f"{ENDPOINT}/state", dependencies=[audits(AuditAction.WEBHOOK_ENDPOINT_UPDATE)])
def change_state(
    runtime: CurrentRuntime,
    session: AdminSession,
    _confirmed: Confirmed,
    actor: CurrentActor,
    endpoint_id: UUID,
    form: SubmittedForm,
) -> Response:
    """Enable or disable an endpoint."""
    change = _validate(WebhookEndpointChange, {"state": form.get("state", "")})
    endpoints.update(
        runtime.engine,
        endpoint_id,
        change,
        session.caller.workspace_id,
        allow_private=runtime.settings.webhooks_allow_private,
        by=actor,
    )
    is_enabled = change.state is EndpointState.ENABLED
    return lead_to(str(endpoint_id), done="enabled" if is_enabled else "disabled")


@router.post(f"{ENDPOINT}/delete", dependencies=[audits(AuditAction.WEBHOOK_ENDPOINT_DELETE)])
def delete(
    runtime: CurrentRuntime,
    session: AdminSession,
    _confirmed: Confirmed,
    actor: CurrentActor,
    endpoint_id: UUID,
) -> Response:
    """Delete an endpoint with its deliveries."""
    endpoints.delete(runtime.engine, endpoint_id, session.caller.workspace_id, actor)
    return lead_to("", done="deleted")


@router.post(f"{ENDPOINT}/rotate", dependencies=[audits(AuditAction.WEBHOOK_ENDPOINT_ROTATE)])
def rotate(
    request: Request,
    runtime: CurrentRuntime,
    session: AdminSession,
    _confirmed: Confirmed,
    actor: CurrentActor,
    endpoint_id: UUID,
) -> Response:
    """Create a new secret, and show it, once."""
    rotated = endpoints.rotate(runtime.engine, endpoint_id, session.caller.workspace_id, actor)
    return render(request, "webhook_secret.html", session, endpoint=rotated, is_new=False)


@router.post(f"{ENDPOINT}/test", dependencies=[audits(AuditAction.WEBHOOK_ENDPOINT_TEST)])
def try_out(
    request: Request,
    runtime: CurrentRuntime,
    session: AdminSession,
    actor: CurrentActor,
    quotas: CurrentQuotas,
    endpoint_id: UUID,
) -> Response:
    """Send a test event now, and show what the receiver answered."""
    workspace_id = session.caller.workspace_id
    endpoint = endpoints.show(runtime.engine, endpoint_id, workspace_id)
    with quotas.count_test(endpoint.workspace_id):
        result = send_test_event(
            runtime.engine,
            endpoint_id,
            workspace_id,
            base_url=runtime.settings.public_base_url,
            allow_private=runtime.settings.webhooks_allow_private,
            by=actor,
        )
    return render_endpoint(request, runtime, session, endpoint_id, {}, result)


@router.post(f"{ENDPOINT}/replay", dependencies=[audits(AuditAction.WEBHOOK_ENDPOINT_REPLAY)])
def replay(
    runtime: CurrentRuntime,
    session: AdminSession,
    _confirmed: Confirmed,
    actor: CurrentActor,
    quotas: CurrentQuotas,
    endpoint_id: UUID,
    form: SubmittedForm,
) -> Response:
    """Send all failed deliveries again, or all events from a position on."""
    workspace_id = session.caller.workspace_id
    since = form.get("since_position", "").strip()
    position = int(since) if is_whole(since) else since
    fields = {"since_position": position} if since else {"failed": "failed" in form}
    asked = _validate(ReplayRequest, fields)
    endpoint = endpoints.show(runtime.engine, endpoint_id, workspace_id)
    quotas.count_replay(endpoint.workspace_id)
    replayed = deliveries.replay(
        runtime.engine, endpoint_id, asked, workspace_id, max_waiting=MAX_WAITING, by=actor
    )
    following = {"next": replayed.next_position} if replayed.next_position else {}
    return lead_to(str(endpoint_id), replayed=replayed.deliveries, **following)


@router.post(
    f"{ENDPOINT}/deliveries/{{delivery_id}}/replay",
    dependencies=[audits(AuditAction.WEBHOOK_DELIVERY_REPLAY)],
)
def replay_delivery(
    runtime: CurrentRuntime,
    session: AdminSession,
    actor: CurrentActor,
    quotas: CurrentQuotas,
    endpoint_id: UUID,
    delivery_id: UUID,
) -> Response:
    """Send one event again."""
    workspace_id = session.caller.workspace_id
    endpoint = endpoints.show(runtime.engine, endpoint_id, workspace_id)
    quotas.count_replay(endpoint.workspace_id)
    deliveries.replay_one(runtime.engine, endpoint_id, delivery_id, workspace_id, actor)
    return lead_to(f"{endpoint_id}/deliveries/{delivery_id}", replayed=1)


def _read_fields(form: dict[str, str]) -> dict[str, Any]:
    """Return the fields that a form describes. Without a tick, the endpoint gets every type."""
    return {
        "url": form.get("url", "").strip(),
        "description": form.get("description", "").strip(),
        "event_types": [each.value for each in EventType if f"type-{each}" in form] or None,
    }


def _to_form(endpoint: WebhookEndpoint) -> dict[str, str]:
    """Return the form that describes an endpoint."""
    ticks = {f"type-{each}": "on" for each in endpoint.event_types or ()}
    return {"url": endpoint.url, "description": endpoint.description, **ticks}


def _to_form_values(endpoint: WebhookEndpoint | None, form: dict[str, str]) -> dict[str, Any]:
    return {"endpoint": endpoint, "form": form, "types": list(EventType)}


def _validate(kind: type[M], fields: dict[str, Any]) -> M:
    try:
        return kind.model_validate(fields)
    except ValidationError as error:
        raise invalid_request(*to_field_errors(error)) from None
