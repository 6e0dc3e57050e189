"""Deliveries of an endpoint: list, show with their attempts, replay.

For the API and the command line. `workspace_id` is the workspace that the caller's key is confined
to (None: every workspace). A replayed delivery is sent by the next sweep.
"""

from uuid import UUID

import structlog
from sqlalchemy import Engine

from db import audit_log
from db.session import Connection, transaction
from db.webhooks import delivery_log
from db.webhooks import replay as replays
from schemas.audit import AuditAction, AuditSubject
from schemas.values.actor import SYSTEM, Actor, AuditRecord
from schemas.values.page import Page
from schemas.webhook import (
    DeliveryFilter,
    EndpointState,
    Replayed,
    ReplayRequest,
    WebhookDelivery,
    WebhookDeliveryWithAttempts,
    WebhookEndpoint,
)
from worker.webhooks.endpoints import (
    EndpointNotEnabled,
    EventNotKept,
    NoSuchDelivery,
    TooManyWaiting,
    audit_endpoint,
    find_endpoint,
)

log: structlog.stdlib.BoundLogger = structlog.stdlib.get_logger(__name__)


def list_page(
    engine: Engine, endpoint_id: UUID, wanted: DeliveryFilter, workspace_id: int | None
) -> Page[WebhookDelivery]:
    """Return a page of deliveries, the highest position first. Raises NoSuchEndpoint.

    The next page is `before` the position of the last one.
    """
    with transaction(engine) as tx:
        find_endpoint(tx, endpoint_id, workspace_id)
        return delivery_log.list_page(tx, endpoint_id, wanted)


def show(
    engine: Engine, endpoint_id: UUID, delivery_id: UUID, workspace_id: int | None
) -> WebhookDeliveryWithAttempts:
    """Return a delivery and its last attempts. Raises NoSuchEndpoint or NoSuchDelivery."""
    with transaction(engine) as tx:
        find_endpoint(tx, endpoint_id, workspace_id)
        delivery = _find_delivery(tx, endpoint_id, delivery_id)
        attempts = delivery_log.read_attempts(tx, delivery_id)
    return WebhookDeliveryWithAttempts(**dict(delivery), log=attempts)


def replay_one(
    engine: Engine,
    endpoint_id: UUID,
    delivery_id: UUID,
    workspace_id: int | None,
    by: Actor = SYSTEM,
) -> WebhookDelivery:
    """Replay a delivery in any state.

    Raises NoSuchEndpoint, NoSuchDelivery, EndpointNotEnabled or EventNotKept.
    """
    with transaction(engine) as tx:
        endpoint = find_endpoint(tx, endpoint_id, workspace_id, lock=True)
        _find_delivery(tx, endpoint_id, delivery_id)
        _check_enabled(endpoint)
        if not replays.replay_one(tx, endpoint_id, delivery_id):
            raise EventNotKept("The event is older than what is kept; it cannot be sent again.")
        replayed = _find_delivery(tx, endpoint_id, delivery_id)
        record = AuditRecord(
            actor=by,
            action=AuditAction.WEBHOOK_DELIVERY_REPLAY,
            subject=AuditSubject.WEBHOOK_DELIVERY,
            subject_id=delivery_id,
            workspace_id=endpoint.workspace_id,
            details={"endpoint_id": str(endpoint_id), "position": replayed.position},
        )
        audit_log.append(tx, [record])
    log.info("webhook.replayed", endpoint_id=str(endpoint_id), deliveries=1)
    return replayed


def replay(
    engine: Engine,
    endpoint_id: UUID,
    asked: ReplayRequest,
    workspace_id: int | None,
    *,
    max_waiting: int | None = None,
    by: Actor = SYSTEM,
) -> Replayed:
    """Replay every event from a position on, or every failed delivery.

    Raises NoSuchEndpoint, EndpointNotEnabled, or TooManyWaiting if `max_waiting` deliveries of the
    endpoint are pending.
    """
    with transaction(engine) as tx:
        endpoint = find_endpoint(tx, endpoint_id, workspace_id, lock=True)
        _check_enabled(endpoint)
        if max_waiting is not None and replays.has_pending(tx, endpoint_id, max_waiting):
            raise TooManyWaiting(
                f"{max_waiting:,} deliveries of the endpoint wait to be sent. Replay when fewer"
                " wait. Nothing was changed."
            )
        replayed = (
            replays.replay_failed(tx, endpoint_id)
            if asked.since_position is None
            else replays.replay_since(tx, endpoint_id, asked.since_position)
        )
        details = {**asked.model_dump(), "deliveries": replayed.deliveries}
        audit_endpoint(tx, AuditAction.WEBHOOK_ENDPOINT_REPLAY, endpoint, by, details)
    log.info("webhook.replayed", endpoint_id=str(endpoint_id), deliveries=replayed.deliveries)
    return replayed


def _check_enabled(endpoint: WebhookEndpoint) -> None:
    if endpoint.state != EndpointState.ENABLED:
        raise EndpointNotEnabled("The endpoint is disabled; enable it, then replay.")


def _find_delivery(tx: Connection, endpoint_id: UUID, delivery_id: UUID) -> WebhookDelivery:
    found = delivery_log.read_delivery(tx, endpoint_id, delivery_id)
    if found is None:
        raise NoSuchDelivery(f"The endpoint has no delivery {delivery_id}.")
    return found
