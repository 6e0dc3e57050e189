"""Deliveries of an endpoint: list, show with their attempts, replay.

For the API and the command line. `workspace_id` is the workspace that the caller's key is confined
to (None: every workspace). A replayed delivery is sent by the next sweep.
"""

from collections.abc import Iterator
from uuid import UUID

import structlog
from sqlalchemy import Engine

from db import audit_log
from db.session import Connection, transaction
from db.webhooks import delivery_log
from db.webhooks import replay as replays
from publish_worker_client.events.outbox import read_ends
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

PAGE = 1_000
"""Deliveries that one transaction of a longer replay changes."""
MAX_REPLAYED = 10_000
"""Events that one call of the API sends again."""

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
    return _replay(engine, endpoint_id, asked, workspace_id, by, max_waiting=max_waiting)


def replay_in_pages(
    engine: Engine, endpoint_id: UUID, asked: ReplayRequest, by: Actor
) -> Iterator[Replayed]:
    """Replay as `replay` does, a page in a transaction; yield each page after its commit.

    `next_position` of a page is where the next one begins. None: it was the last one.
    """
    since: int | None = asked.since_position or 1
    while since is not None:
        replayed = _replay(engine, endpoint_id, asked, None, by, since=since, limit=PAGE)
        since = replayed.next_position
        yield replayed


def measure_replay(engine: Engine, endpoint_id: UUID, asked: ReplayRequest) -> int:
    """Return the number of failed deliveries, or of positions from `since_position` on."""
    with transaction(engine) as tx:
        if asked.since_position is None:
            return replays.count_failed(tx, endpoint_id)
        last, _ = read_ends(tx)
        return max(last - asked.since_position + 1, 0)


def _replay(
    engine: Engine,
    endpoint_id: UUID,
    asked: ReplayRequest,
    workspace_id: int | None,
    by: Actor,
    *,
    max_waiting: int | None = None,
    since: int | None = None,
    limit: int | None = None,
) -> Replayed:
    """Replay one page; without `limit`, as much as one call of the API does."""
    first = since or asked.since_position or 1
    with transaction(engine) as tx:
        endpoint = find_endpoint(tx, endpoint_id, workspace_id, lock=True)
        _check_enabled(endpoint)
        if max_waiting is not None and replays.has_pending(tx, endpoint_id, max_waiting):
            raise TooManyWaiting(
                f"{max_waiting:,} deliveries of the endpoint wait to be sent. Replay when fewer"
                " wait. Nothing was changed."
            )
        replayed = (
            replays.replay_failed(tx, endpoint_id, after=first - 1, limit=limit)
            if asked.since_position is None
            else replays.replay_since(tx, endpoint_id, first, limit or MAX_REPLAYED)
        )
        begin = None if asked.since_position is None else first
        details = {
            "since_position": begin,
            "failed": asked.failed,
            "deliveries": replayed.deliveries,
        }
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
