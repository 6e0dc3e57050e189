"""Webhook endpoints: who is told over HTTP, what became of each delivery, and sending again."""

import threading
from typing import Annotated
from urllib.parse import urlencode
from uuid import UUID

from fastapi import Body, Path, Query, Response

from schemas.webhook import (
    DeliveryFilter,
    EndpointFilter,
    NewWebhookEndpoint,
    Replayed,
    ReplayRequest,
    WebhookDeliveries,
    WebhookDelivery,
    WebhookDeliveryWithAttempts,
    WebhookEndpoint,
    WebhookEndpointChange,
    WebhookEndpoints,
    WebhookEndpointWithSecret,
    WebhookTest,
)
from worker.api.auth import Admin, Here, NeedsKey, Reader
from worker.api.documents import openapi
from worker.api.enqueue_request import JsonOnly
from worker.api.problems import ApiProblem
from worker.api.routing import Router
from worker.webhooks import deliveries, endpoints
from worker.webhooks.test_event import send_test_event

router = Router(tags=["webhooks"], dependencies=[NeedsKey])

TESTS_AT_ONCE = 5
"""A test holds a thread for up to 15 seconds; there are some 40 for all callers together."""
_tests = threading.BoundedSemaphore(TESTS_AT_ONCE)

EndpointId = Annotated[
    UUID, Path(description="The endpoint's id.", examples=[openapi.ENDPOINT["id"]])
]
DeliveryId = Annotated[
    UUID, Path(description="The delivery's id.", examples=[openapi.DELIVERY["id"]])
]


@router.post(
    "/webhook-endpoints",
    operation_id="webhook-endpoints-create",
    summary="Register an endpoint",
    status_code=201,
    dependencies=[JsonOnly],
    responses=openapi.NEW_ENDPOINT_RESPONSES,
)
def create(
    response: Response,
    runtime: Here,
    caller: Admin,
    body: Annotated[NewWebhookEndpoint, Body(openapi_examples=openapi.NEW_ENDPOINT_EXAMPLES)],
) -> WebhookEndpointWithSecret:
    """Register an endpoint, and get its secret, this once.

    It is told of every event that is recorded from now on, at least once, signed by the Standard
    Webhooks specification. Only for keys of the scope `admin`.
    """
    made = endpoints.create(
        runtime.engine,
        body,
        caller.workspace_id,
        allow_private=runtime.settings.webhooks_allow_private,
    )
    base_url = runtime.settings.public_base_url.rstrip("/")
    response.headers["Location"] = f"{base_url}/api/v1/webhook-endpoints/{made.id}"
    response.headers["Cache-Control"] = "no-store"
    return made


@router.get(
    "/webhook-endpoints",
    operation_id="webhook-endpoints-list",
    summary="List endpoints",
    responses=openapi.ENDPOINT_LIST_RESPONSES,
)
def list_endpoints(
    runtime: Here, caller: Reader, asked: Annotated[EndpointFilter, Query()]
) -> WebhookEndpoints:
    """List a page of endpoints, the newest first; `next` leads to the one after."""
    page = endpoints.list_page(runtime.engine, asked, caller.workspace_id)
    path = "/webhook-endpoints"
    return WebhookEndpoints(
        endpoints=list(page.items),
        next=_next(
            runtime.settings.public_base_url, path, asked, page.next_after and page.next_after.id
        ),
    )


@router.get(
    "/webhook-endpoints/{endpoint_id}",
    operation_id="webhook-endpoints-retrieve",
    summary="See an endpoint",
    responses=openapi.ENDPOINT_RESPONSES,
)
def retrieve(endpoint_id: EndpointId, runtime: Here, caller: Reader) -> WebhookEndpoint:
    """Return the endpoint as it stands; never its secret."""
    return endpoints.show(runtime.engine, endpoint_id, caller.workspace_id)


@router.patch(
    "/webhook-endpoints/{endpoint_id}",
    operation_id="webhook-endpoints-update",
    summary="Change, disable or enable an endpoint",
    dependencies=[JsonOnly],
    responses=openapi.ENDPOINT_CHANGE_RESPONSES,
)
def update(
    endpoint_id: EndpointId,
    runtime: Here,
    caller: Admin,
    body: Annotated[WebhookEndpointChange, Body(openapi_examples=openapi.ENDPOINT_CHANGE_EXAMPLES)],
) -> WebhookEndpoint:
    """Change what is said; what is not said stays.

    `disabled` gives up what is pending. `enabled` clears `failing_since` and `disabled_reason` and
    starts with the next event: what was missed meanwhile is not sent unless you replay it.
    """
    return endpoints.update(
        runtime.engine,
        endpoint_id,
        body,
        caller.workspace_id,
        allow_private=runtime.settings.webhooks_allow_private,
    )


@router.delete(
    "/webhook-endpoints/{endpoint_id}",
    operation_id="webhook-endpoints-delete",
    summary="Remove an endpoint",
    status_code=204,
    responses=openapi.ENDPOINT_DELETE_RESPONSES,
)
def delete(endpoint_id: EndpointId, runtime: Here, caller: Admin) -> None:
    """Remove the endpoint, with the log of its deliveries. Nothing more is sent to it."""
    endpoints.delete(runtime.engine, endpoint_id, caller.workspace_id)


@router.post(
    "/webhook-endpoints/{endpoint_id}/rotate-secret",
    operation_id="webhook-endpoints-rotate-secret",
    summary="Get a new secret",
    responses=openapi.ROTATE_RESPONSES,
)
def rotate_secret(
    endpoint_id: EndpointId, response: Response, runtime: Here, caller: Admin
) -> WebhookEndpointWithSecret:
    """Make a new secret and show it, this once.

    For 24 hours both sign: `webhook-signature` carries a signature by each. Another rotation within
    that time ends the older one at once.
    """
    made = endpoints.rotate(runtime.engine, endpoint_id, caller.workspace_id)
    response.headers["Cache-Control"] = "no-store"
    return made


@router.post(
    "/webhook-endpoints/{endpoint_id}/test",
    operation_id="webhook-endpoints-test",
    summary="Send a test event now",
    responses=openapi.TEST_RESPONSES,
)
def try_out(endpoint_id: EndpointId, runtime: Here, caller: Admin) -> WebhookTest:
    """Send an event of type `webhook.test`, signed like any other, and tell what came of it.

    Waits for the answer for up to 15 seconds. The event is in no feed, and is not tried again; a
    disabled endpoint gets it too.
    """
    if not _tests.acquire(blocking=False):
        raise ApiProblem(
            status=429,
            kind="too-many-tests",
            title="Too many tests",
            detail=f"{TESTS_AT_ONCE} tests are under way. Try again in a few seconds.",
            headers={"Retry-After": "5"},
        )
    try:
        return send_test_event(
            runtime.engine,
            endpoint_id,
            caller.workspace_id,
            base_url=runtime.settings.public_base_url,
            allow_private=runtime.settings.webhooks_allow_private,
        )
    finally:
        _tests.release()


@router.post(
    "/webhook-endpoints/{endpoint_id}/replay",
    operation_id="webhook-endpoints-replay",
    summary="Send many events again",
    status_code=202,
    dependencies=[JsonOnly],
    responses=openapi.REPLAY_RESPONSES,
)
def replay(
    endpoint_id: EndpointId,
    runtime: Here,
    caller: Admin,
    body: Annotated[ReplayRequest, Body(openapi_examples=openapi.REPLAY_EXAMPLES)],
) -> Replayed:
    """Send again everything from a position on, or everything that failed, as far as it is kept.

    Receivers tell doubles by `webhook-id`: it is the event's, and never changes.
    """
    return deliveries.replay(runtime.engine, endpoint_id, body, caller.workspace_id)


@router.get(
    "/webhook-endpoints/{endpoint_id}/deliveries",
    operation_id="webhook-deliveries-list",
    summary="List an endpoint's deliveries",
    responses=openapi.DELIVERY_LIST_RESPONSES,
)
def list_deliveries(
    endpoint_id: EndpointId,
    runtime: Here,
    caller: Reader,
    asked: Annotated[DeliveryFilter, Query()],
) -> WebhookDeliveries:
    """List a page of deliveries, the highest position first; `next` leads to the one after."""
    page = deliveries.list_page(runtime.engine, endpoint_id, asked, caller.workspace_id)
    path = f"/webhook-endpoints/{endpoint_id}/deliveries"
    return WebhookDeliveries(
        deliveries=list(page.items),
        next=_next(
            runtime.settings.public_base_url,
            path,
            asked,
            page.next_after and page.next_after.position,
        ),
    )


@router.get(
    "/webhook-endpoints/{endpoint_id}/deliveries/{delivery_id}",
    operation_id="webhook-deliveries-retrieve",
    summary="See a delivery with its attempts",
    responses=openapi.DELIVERY_RESPONSES,
)
def retrieve_delivery(
    endpoint_id: EndpointId, delivery_id: DeliveryId, runtime: Here, caller: Reader
) -> WebhookDeliveryWithAttempts:
    """Return the delivery as it stands, and what each attempt was answered."""
    return deliveries.show(runtime.engine, endpoint_id, delivery_id, caller.workspace_id)


@router.post(
    "/webhook-endpoints/{endpoint_id}/deliveries/{delivery_id}/replay",
    operation_id="webhook-deliveries-replay",
    summary="Send one event again",
    status_code=202,
    responses=openapi.DELIVERY_REPLAY_RESPONSES,
)
def replay_delivery(
    endpoint_id: EndpointId, delivery_id: DeliveryId, runtime: Here, caller: Admin
) -> WebhookDelivery:
    """Send the delivery again, with a new set of attempts, whatever became of it.

    It is pending at once, and sent within a second or so. One that is under way is left alone.
    """
    return deliveries.replay_one(runtime.engine, endpoint_id, delivery_id, caller.workspace_id)


def _next(
    base_url: str, path: str, asked: EndpointFilter | DeliveryFilter, before: UUID | int | None
) -> str | None:
    if before is None:
        return None
    further = asked.model_copy(update={"before": before})
    query = urlencode(further.model_dump(mode="json", exclude_none=True))
    return f"{base_url.rstrip('/')}/api/v1{path}?{query}"
