"""Messages of one channel alone: a webhook's test event, the last event of an SSE stream."""

from typing import Any

from worker.api.streaming.tail_reader import EndReason
from worker.webhooks.test_event import TEST_TYPE

Json = dict[str, Any]

DROPPED = "dropped"
_SHARED = ("specversion", "id", "source", "subject", "time", "datacontenttype")
"""Attributes that a test event has in common with events of the outbox."""


def webhook_test_message(envelope: Json) -> Json:
    """Return the message of `publish-worker webhooks test`: in no feed, so without a position."""
    properties = {name: envelope["properties"][name] for name in _SHARED}
    subject = {**properties["subject"], "description": "The endpoint's id."}
    text = {"type": "string"}
    data = {
        "type": "object",
        "properties": {
            "endpoint_id": {**text, "format": "uuid"},
            "workspace_id": {"type": "integer"},
            "url": {**text, "description": "The endpoint's URL at the API."},
        },
        "required": ["endpoint_id", "workspace_id", "url"],
    }
    own = {"subject": subject, "type": {"const": TEST_TYPE}, "data": data}
    return {
        "name": TEST_TYPE,
        "title": "WebhookTest",
        "summary": "A test that was asked for: of one endpoint, recorded nowhere, not retried.",
        "contentType": "application/cloudevents+json",
        "payload": {
            "type": "object",
            "properties": {**properties, **own},
            "required": [*_SHARED, "type", "data"],
        },
    }


def dropped_message() -> Json:
    """Return the message with which the server ends a stream that it does not continue."""
    reasons = [reason.value for reason in EndReason if reason is not EndReason.STOPPING]
    return {
        "name": DROPPED,
        "title": "StreamDropped",
        "summary": "The last event of a stream: why it ends, and where to go on.",
        "contentType": "application/json",
        "payload": {
            "type": "object",
            "properties": {
                "reason": {
                    "type": "string",
                    "description": f"{', '.join(f'`{each}`' for each in reasons)}, or another one.",
                },
                "resume_after": {
                    "type": "integer",
                    "description": "Everything up to this position has been sent.",
                },
            },
            "required": ["reason", "resume_after"],
        },
    }
