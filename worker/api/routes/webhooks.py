"""Routes of webhook endpoints: register and change them, read their deliveries, replay."""

from typing import Annotated
from uuid import UUID

from fastapi import Body, Path, Query, Response

from schemas.audit import AuditAction
from schemas.webhook import (
    DeliveryFilter,
    EndpointFilter,
    Replayed,
    ReplayRequest,
    WebhookDeliveries,
    WebhookDelivery,
    WebhookDeliveryWithAttempts,
    WebhookEndpoint,
    WebhookEndpointChange,
    WebhookEndpoints,
    WebhookEndpointWithSecret,
    WebhookRegistration,
    WebhookTest,
)
from worker.api import problems
from worker.api.audit import CurrentActor, audits
from worker.api.auth import AdminCaller, CurrentRuntime, ReadCaller, RequiresKey
from worker.api.documents import webhooks as examples
from worker.api.documents.responses import (
    BODY_PROBLEMS,
    KEY_PROBLEMS,
    failures,
    header,
    success,
)
from worker.api.enqueue_request import LimitedErrors, RequiresJson
from worker.api.links import api_url, page_url
from worker.api.routing import Router
from worker.api.webhook_quotas import CurrentQuotas
from worker.webhooks import deliveries, endpoints
from worker.webhooks.test_event import send_test_event

router = Router(tags=["webhooks"], dependencies=[RequiresKey], responses=KEY_PROBLEMS)

MAX_WAITING = 50_000
"""Deliveries of an endpoint that wait, above which a replay is refused."""

EndpointId = Annotated[
    UUID, Path(description="The endpoint's id.", examples=[examples.ENDPOINT["id"]])
]
DeliveryId = Annotated[
    UUID, Path(description="The delivery's id.", examples=[examples.DELIVERY["id"]])
]
NO_STORE = header("Cache-Control", "The answer contains the secret.", "no-store")
ADMIN_PROBLEMS = failures(problems.ADMIN_NEEDED, problems.NO_SUCH_ENDPOINT)
ADMIN_BODY_PROBLEMS = failures(*BODY_PROBLEMS) | ADMIN_PROBLEMS


@router.post(
    "/webhook-endpoints",
    operation_id="webhook-endpoints-create",
    summary="Register an endpoint",
    status_code=201,
    dependencies=[RequiresJson, audits(AuditAction.WEBHOOK_ENDPOINT_CREATE)],
    responses=failures(*BODY_PROBLEMS)
    | failures(
        problems.ADMIN_NEEDED,
        problems.ENDPOINT_LIMIT,
        problems.INVALID_ADDRESS,
        problems.TOO_MANY_LOOK_UPS,
    )
    | success(
        201,
        "Registered; store the secret.",
        examples.ENDPOINT_WITH_SECRET,
        headers={
            **header(
                "Location",
                "The URL of the endpoint.",
                f"http://localhost:8000/api/v1/webhook-endpoints/{examples.ENDPOINT['id']}",
            ),
            **NO_STORE,
        },
    ),
)
def create(
    response: Response,
    runtime: CurrentRuntime,
    caller: AdminCaller,
    by: CurrentActor,
    body: Annotated[
        WebhookRegistration, LimitedErrors, Body(openapi_examples=examples.NEW_ENDPOINT_EXAMPLES)
    ],
) -> WebhookEndpointWithSecret:
    """Register an endpoint, and return its secret; the secret is not shown again.

    The endpoint receives every event that is recorded from now on, at least once, signed by the
    Standard Webhooks specification. Requires a key of scope `admin`.
    """
    created = endpoints.create(
        runtime.engine,
        body,
        caller.workspace_id,
        allow_private=runtime.settings.webhooks_allow_private,
        by=by,
    )
    path = f"/webhook-endpoints/{created.id}"
    response.headers["Location"] = api_url(runtime.settings.public_base_url, path)
    response.headers["Cache-Control"] = "no-store"
    return created


@router.get(
    "/webhook-endpoints",
    operation_id="webhook-endpoints-list",
    summary="List endpoints",
    responses=success(
        200, "A page of endpoints.", {"endpoints": [examples.ENDPOINT], "next": None}
    ),
)
def list_endpoints(
    runtime: CurrentRuntime, caller: ReadCaller, query: Annotated[EndpointFilter, Query()]
) -> WebhookEndpoints:
    """Return a page of endpoints, the newest first; `next` is the URL of the following page."""
    page = endpoints.list_page(runtime.engine, query, caller.workspace_id)
    base_url, last = runtime.settings.public_base_url, page.next_after
    return WebhookEndpoints(
        endpoints=list(page.items),
        next=last and page_url(base_url, "/webhook-endpoints", query, before=last.id),
    )


@router.get(
    "/webhook-endpoints/{endpoint_id}",
    operation_id="webhook-endpoints-retrieve",
    summary="Read an endpoint",
    responses=failures(problems.NO_SUCH_ENDPOINT)
    | success(200, "The endpoint's current state.", examples.ENDPOINT),
)
def retrieve(
    endpoint_id: EndpointId, runtime: CurrentRuntime, caller: ReadCaller
) -> WebhookEndpoint:
    """Return the endpoint's current state, without its secret."""
    return endpoints.show(runtime.engine, endpoint_id, caller.workspace_id)


@router.patch(
    "/webhook-endpoints/{endpoint_id}",
    operation_id="webhook-endpoints-update",
    summary="Change, disable or enable an endpoint",
    dependencies=[RequiresJson, audits(AuditAction.WEBHOOK_ENDPOINT_UPDATE)],
    responses=ADMIN_BODY_PROBLEMS
    | failures(problems.INVALID_ADDRESS, problems.TOO_MANY_LOOK_UPS)
    | success(200, "The endpoint after the change.", examples.ENDPOINT),
)
def update(
    endpoint_id: EndpointId,
    runtime: CurrentRuntime,
    caller: AdminCaller,
    by: CurrentActor,
    body: Annotated[
        WebhookEndpointChange,
        LimitedErrors,
        Body(openapi_examples=examples.ENDPOINT_CHANGE_EXAMPLES),
    ],
) -> WebhookEndpoint:
    """Change the given fields; absent fields stay as they are.

    `disabled` cancels pending deliveries. `enabled` clears `failing_since` and `disabled_reason`
    and starts with the next event: events in between are not sent unless you replay them.
    """
    return endpoints.update(
        runtime.engine,
        endpoint_id,
        body,
        caller.workspace_id,
        allow_private=runtime.settings.webhooks_allow_private,
        by=by,
    )


@router.delete(
    "/webhook-endpoints/{endpoint_id}",
    operation_id="webhook-endpoints-delete",
    summary="Remove an endpoint",
    status_code=204,
    dependencies=[audits(AuditAction.WEBHOOK_ENDPOINT_DELETE)],
    responses=ADMIN_PROBLEMS | {204: {"description": "The endpoint was removed."}},
)
def delete(
    endpoint_id: EndpointId, runtime: CurrentRuntime, caller: AdminCaller, by: CurrentActor
) -> None:
    """Remove the endpoint and the log of its deliveries. Nothing more is sent to it."""
    endpoints.delete(runtime.engine, endpoint_id, caller.workspace_id, by)


@router.post(
    "/webhook-endpoints/{endpoint_id}/rotate-secret",
    operation_id="webhook-endpoints-rotate-secret",
    summary="Rotate the secret",
    dependencies=[audits(AuditAction.WEBHOOK_ENDPOINT_ROTATE)],
    responses=ADMIN_PROBLEMS
    | success(
        200,
        "The new secret; store it.",
        {**examples.ENDPOINT_WITH_SECRET, "previous_secret_until": "2026-11-25T09:00:00Z"},
        headers=NO_STORE,
    ),
)
def rotate_secret(
    endpoint_id: EndpointId,
    response: Response,
    runtime: CurrentRuntime,
    caller: AdminCaller,
    by: CurrentActor,
) -> WebhookEndpointWithSecret:
    """Create a new secret, and return it; it is not shown again.

    For 24 hours both secrets sign: `webhook-signature` has a signature by each. A second rotation
    within that time ends the oldest secret at once.
    """
    created = endpoints.rotate(runtime.engine, endpoint_id, caller.workspace_id, by)
    response.headers["Cache-Control"] = "no-store"
    return created


@router.post(
    "/webhook-endpoints/{endpoint_id}/test",
    operation_id="webhook-endpoints-test",
    summary="Send a test event now",
    dependencies=[audits(AuditAction.WEBHOOK_ENDPOINT_TEST)],
    responses=ADMIN_PROBLEMS
    | failures(problems.TOO_MANY_TESTS, problems.TOO_MANY_REQUESTS)
    | success(200, "The result, successful or not.", {**examples.ATTEMPT, "delivered": False}),
)
def try_out(
    endpoint_id: EndpointId,
    runtime: CurrentRuntime,
    caller: AdminCaller,
    by: CurrentActor,
    quotas: CurrentQuotas,
) -> WebhookTest:
    """Send an event of type `webhook.test`, signed like any other, and return the result.

    The request waits up to 15 seconds for the receiver. The event is not in any feed, and is not
    retried; a disabled endpoint receives it too. A workspace may run two tests at once, and start
    20 within a minute.
    """
    endpoint = endpoints.show(runtime.engine, endpoint_id, caller.workspace_id)
    with quotas.count_test(endpoint.workspace_id):
        return send_test_event(
            runtime.engine,
            endpoint_id,
            caller.workspace_id,
            base_url=runtime.settings.public_base_url,
            allow_private=runtime.settings.webhooks_allow_private,
            by=by,
        )


@router.post(
    "/webhook-endpoints/{endpoint_id}/replay",
    operation_id="webhook-endpoints-replay",
    summary="Send many events again",
    status_code=202,
    dependencies=[RequiresJson, audits(AuditAction.WEBHOOK_ENDPOINT_REPLAY)],
    responses=ADMIN_BODY_PROBLEMS
    | failures(problems.ENDPOINT_DISABLED, problems.TOO_MANY_REPLAYS)
    | success(
        202,
        "How many deliveries will be sent again.",
        {"deliveries": 37, "next_position": None},
    ),
)
def replay(
    endpoint_id: EndpointId,
    runtime: CurrentRuntime,
    caller: AdminCaller,
    by: CurrentActor,
    quotas: CurrentQuotas,
    body: Annotated[ReplayRequest, LimitedErrors, Body(openapi_examples=examples.REPLAY_EXAMPLES)],
) -> Replayed:
    """Send all events from a position on, or all failed deliveries, as far as they are stored.

    Receivers recognise duplicates by `webhook-id`: it is the event's id, and never changes. A
    workspace may make 60 replays within a minute; a replay is refused while 50,000 deliveries of
    the endpoint wait.
    """
    endpoint = endpoints.show(runtime.engine, endpoint_id, caller.workspace_id)
    quotas.count_replay(endpoint.workspace_id)
    return deliveries.replay(
        runtime.engine, endpoint_id, body, caller.workspace_id, max_waiting=MAX_WAITING, by=by
    )


@router.get(
    "/webhook-endpoints/{endpoint_id}/deliveries",
    operation_id="webhook-deliveries-list",
    summary="List an endpoint's deliveries",
    responses=failures(problems.NO_SUCH_ENDPOINT)
    | success(200, "A page of deliveries.", {"deliveries": [examples.DELIVERY], "next": None}),
)
def list_deliveries(
    endpoint_id: EndpointId,
    runtime: CurrentRuntime,
    caller: ReadCaller,
    query: Annotated[DeliveryFilter, Query()],
) -> WebhookDeliveries:
    """Return a page of deliveries, the highest position first; `next` is the following page."""
    page = deliveries.list_page(runtime.engine, endpoint_id, query, caller.workspace_id)
    path = f"/webhook-endpoints/{endpoint_id}/deliveries"
    base_url, last = runtime.settings.public_base_url, page.next_after
    return WebhookDeliveries(
        deliveries=list(page.items),
        next=last and page_url(base_url, path, query, before=last.position),
    )


@router.get(
    "/webhook-endpoints/{endpoint_id}/deliveries/{delivery_id}",
    operation_id="webhook-deliveries-retrieve",
    summary="Read a delivery with its attempts",
    responses=failures(problems.NO_SUCH_DELIVERY, problems.NO_SUCH_ENDPOINT)
    | success(200, "The delivery, with its attempts.", examples.DELIVERY_WITH_ATTEMPTS),
)
def retrieve_delivery(
    endpoint_id: EndpointId, delivery_id: DeliveryId, runtime: CurrentRuntime, caller: ReadCaller
) -> WebhookDeliveryWithAttempts:
    """Return the delivery's current state, and the answer to each attempt."""
    return deliveries.show(runtime.engine, endpoint_id, delivery_id, caller.workspace_id)


@router.post(
    "/webhook-endpoints/{endpoint_id}/deliveries/{delivery_id}/replay",
    operation_id="webhook-deliveries-replay",
    summary="Send one event again",
    status_code=202,
    dependencies=[audits(AuditAction.WEBHOOK_DELIVERY_REPLAY)],
    responses=failures(
        problems.ADMIN_NEEDED,
        problems.NO_SUCH_DELIVERY,
        problems.NO_SUCH_ENDPOINT,
        problems.ENDPOINT_DISABLED,
        problems.EVENT_NOT_KEPT,
        problems.TOO_MANY_REPLAYS,
    )
    | success(202, "The delivery, pending again.", {**examples.DELIVERY, "attempts": 0}),
)
def replay_delivery(
    endpoint_id: EndpointId,
    delivery_id: DeliveryId,
    runtime: CurrentRuntime,
    caller: AdminCaller,
    by: CurrentActor,
    quotas: CurrentQuotas,
) -> WebhookDelivery:
    """Send the delivery again, with a new set of attempts, whatever its state.

    It is pending at once, and sent within about a second. A delivery that is being sent now is not
    changed. A workspace may make 60 replays within a minute.
    """
    endpoint = endpoints.show(runtime.engine, endpoint_id, caller.workspace_id)
    quotas.count_replay(endpoint.workspace_id)
    return deliveries.replay_one(runtime.engine, endpoint_id, delivery_id, caller.workspace_id, by)
