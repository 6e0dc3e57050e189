"""A test event: sent at once to one endpoint, recorded nowhere, repeated never."""

import asyncio
import json
from datetime import UTC, datetime

from uuid_utils.compat import uuid7

from schemas.values.delivery import Attempt, Receiver
from worker.webhooks.attempt import send
from worker.webhooks.connections import CheckedBackend, Lines

TEST_TYPE = "webhook.test"


def send_test(receiver: Receiver, *, base_url: str, allow_private: bool) -> Attempt:
    """Send a signed test event and wait for what comes of it, up to fifteen seconds.

    No transaction may be open meanwhile.
    """
    event_id = str(uuid7())
    body = trial_event(receiver, event_id, base_url, datetime.now(UTC))
    return asyncio.run(_send(receiver, event_id, body, allow_private=allow_private))


async def _send(receiver: Receiver, event_id: str, body: str, *, allow_private: bool) -> Attempt:
    lines = Lines(CheckedBackend(allow_private=allow_private))
    try:
        return await send(lines, receiver, event_id, body, allow_private=allow_private)
    finally:
        await lines.close()


def trial_event(receiver: Receiver, event_id: str, base_url: str, now: datetime) -> str:
    """A CloudEvent like any other, but without a position: it stands in no order."""
    return json.dumps(
        {
            "specversion": "1.0",
            "id": event_id,
            "source": f"/workspaces/{receiver.workspace_id}",
            "type": TEST_TYPE,
            "subject": str(receiver.id),
            "time": now.isoformat().replace("+00:00", "Z"),
            "datacontenttype": "application/json",
            "data": {
                "endpoint_id": str(receiver.id),
                "workspace_id": receiver.workspace_id,
                "url": f"{base_url.rstrip('/')}/api/v1/webhook-endpoints/{receiver.id}",
            },
        }
    )
