"""Test events: sent at once to one endpoint, not recorded, not retried."""

import asyncio
import json
from datetime import UTC, datetime
from uuid import UUID

from sqlalchemy import Engine
from uuid_utils.compat import uuid7

from db.session import transaction
from db.webhooks.endpoints import read_receiver
from schemas.audit import AuditAction
from schemas.values.actor import SYSTEM, Actor
from schemas.values.delivery import Attempt, Receiver
from schemas.webhook import WebhookTest
from worker.webhooks.attempt import make_attempt
from worker.webhooks.connections import Connections
from worker.webhooks.endpoints import NoSuchEndpoint, audit_endpoint, find_endpoint
from worker.webhooks.look_ups import REQUEST_LOOK_UPS

TEST_TYPE = "webhook.test"


def send_test_event(
    engine: Engine,
    endpoint_id: UUID,
    workspace_id: int | None,
    *,
    base_url: str,
    allow_private: bool,
    by: Actor = SYSTEM,
) -> WebhookTest:
    """Send a signed test event to an enabled or disabled endpoint; block for up to 15 seconds.

    Raises NoSuchEndpoint. The audit log has the test before it is sent.
    """
    with transaction(engine) as tx:
        endpoint = find_endpoint(tx, endpoint_id, workspace_id)
        audit_endpoint(tx, AuditAction.WEBHOOK_ENDPOINT_TEST, endpoint, by)
        receiver = read_receiver(tx, endpoint_id)
    if receiver is None:
        raise NoSuchEndpoint(endpoint_id)
    event_id = str(uuid7())
    body = build_test_event(receiver, event_id, base_url)
    attempt = asyncio.run(_send(receiver, event_id, body, allow_private=allow_private))
    return WebhookTest(
        delivered=attempt.succeeded,
        started_at=attempt.started_at,
        duration_ms=attempt.duration_ms,
        status=attempt.status,
        error=attempt.error,
        answer=attempt.answer,
    )


async def _send(receiver: Receiver, event_id: str, body: str, *, allow_private: bool) -> Attempt:
    connections = Connections(REQUEST_LOOK_UPS, allow_private=allow_private)
    try:
        return await make_attempt(
            connections, receiver, event_id, lambda: body, allow_private=allow_private
        )
    finally:
        connections.close()


def build_test_event(receiver: Receiver, event_id: str, base_url: str) -> str:
    """Return a CloudEvent as JSON; it has no `sequence`, because it is not in the outbox."""
    return json.dumps(
        {
            "specversion": "1.0",
            "id": event_id,
            "source": f"/workspaces/{receiver.workspace_id}",
            "type": TEST_TYPE,
            "subject": str(receiver.id),
            "time": datetime.now(UTC).isoformat().replace("+00:00", "Z"),
            "datacontenttype": "application/json",
            "data": {
                "endpoint_id": str(receiver.id),
                "workspace_id": receiver.workspace_id,
                "url": f"{base_url.rstrip('/')}/api/v1/webhook-endpoints/{receiver.id}",
            },
        }
    )
