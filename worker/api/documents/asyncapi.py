"""The AsyncAPI 3.0 document: every way in which events come out, and reports come in.

Made from the models, so that it says what the code does; tests/contract/test_asyncapi.py keeps
docs/asyncapi.json equal to it.
"""

import json
import sys
from typing import Any
from urllib.parse import urlsplit

from pydantic.json_schema import models_json_schema

from publish_worker_client.events.cloud_event import schema_url
from publish_worker_client.events.data import EVENT_DATA
from publish_worker_client.events.names import EventType
from schemas.event_schemas import allow_additional_properties
from schemas.events import CloudEvent
from schemas.feed import FeedFilter, StreamFilter
from schemas.generation import GenerationEvent, GenerationEventType, has_foreign_field
from schemas.json_schema import name_int64
from worker.api.documents.channel_messages import DROPPED, dropped_message, webhook_test_message
from worker.api.documents.open_schemas import open_envelope
from worker.api.routes.events import StreamQuery
from worker.events import amqp, redis_stream
from worker.generation import stream
from worker.runtime.settings import Settings
from worker.webhooks.test_event import TEST_TYPE

REF = "#/components/schemas/{model}"
CLOUD_EVENTS = "application/cloudevents+json"
DESCRIPTION = """
Every turn that people wait for is an event, at least once, in one order: `sequence` is 1, 2, 3 …
without gaps, and the same number on every channel, so a consumer may move from one to another. `id`
never changes over redeliveries. Events with the same `partitionkey`, the video, are in order.

Pass over types and fields that you do not know: they are added without a new version.
"""
_BINDING = "0.3.0"
_ALONE = {"webhooks": TEST_TYPE, "sse": DROPPED}
"""The channels with a message of their own."""
_BEARER = {"type": "http", "scheme": "bearer"}
_KEY_IN_URL = {
    "type": "httpApiKey",
    "name": "access_token",
    "in": "query",
    "description": "For EventSource, which cannot set headers: a key of scope `events`.",
}

Json = dict[str, Any]


def document(base_url: str) -> Json:
    """The document, with this installation's address."""
    out = {kind.value: _event_message(kind, base_url) for kind in EventType}
    into = {kind.value: _report_message(kind) for kind in GenerationEventType}
    schemas = _schemas()
    alone = {TEST_TYPE: webhook_test_message(schemas["CloudEvent"]), DROPPED: dropped_message()}
    channels: Json = {
        **{name: {**channel, "messages": _refs(out)} for name, channel in _outlets().items()},
        "reports": {**_reports_channel(), "messages": _refs(into)},
    }
    for channel, name in _ALONE.items():
        channels[channel]["messages"] |= _refs({name: alone[name]})
    made: Json = {
        "asyncapi": "3.0.0",
        "info": {"title": "publish-worker", "version": "1.0.0", "description": DESCRIPTION.strip()},
        "defaultContentType": CLOUD_EVENTS,
        "servers": _servers(base_url),
        "channels": channels,
        "operations": _operations(),
        "components": {"messages": {**out, **alone, **into}, "schemas": schemas},
    }
    return name_int64(made)


def written(base_url: str) -> str:
    """The document as a file holds it."""
    return json.dumps(document(base_url), indent=2, ensure_ascii=False) + "\n"


def main() -> None:
    """Print the document with the address that is the setting's default: for docs/asyncapi.json."""
    sys.stdout.write(written(Settings.model_fields["public_base_url"].default))


def _servers(base_url: str) -> Json:
    api = urlsplit(base_url)
    return {
        "redis": {
            "host": "localhost:6379",
            "protocol": "redis",
            "description": "Redis or Valkey, at `REDIS_URL`.",
        },
        "api": {
            "host": api.netloc,
            "protocol": api.scheme,
            **({"pathname": api.path} if api.path.strip("/") else {}),
            "description": "The HTTP API.",
            "security": [_BEARER],
        },
        "rabbitmq": {
            "host": "localhost:5672",
            "protocol": "amqp",
            "protocolVersion": "0.9.1",
            "description": "RabbitMQ, at `AMQP_URL`, where `OUTLETS` names `amqp`.",
        },
    }


def _outlets() -> Json:
    """The channels on which every event is sent."""
    exchange = amqp.EXCHANGE
    return {
        "stream": {
            "address": redis_stream.STREAM,
            "title": "The Redis stream",
            "description": "An entry for each event: its ID is `<sequence>-0`, its one field"
            f" `{redis_stream.FIELD}` holds the document. Read it with XREAD or XREADGROUP.",
            "servers": [{"$ref": "#/servers/redis"}],
        },
        "feed": {
            "address": "/api/v1/events",
            "title": "The pull feed",
            "description": "Pages in CloudEvents' JSON batch format, from Postgres alone. The"
            ' cursor is in the headers `Events-Next-After` and `Link` (rel="next").',
            "servers": [{"$ref": "#/servers/api"}],
        },
        "sse": {
            "address": "/api/v1/events/stream",
            "title": "Server-Sent Events",
            "description": "`id` is the sequence, `event` the type, `data` the document. With"
            " `Last-Event-ID` it goes on without a gap. A last event, `dropped`, says where to go"
            " on.",
            "servers": [{"$ref": "#/servers/api"}],
        },
        "webhooks": {
            "address": None,
            "title": "Webhooks",
            "description": "POST to each endpoint that was registered, signed by the Standard"
            " Webhooks specification: headers `webhook-id`, `webhook-timestamp` and"
            " `webhook-signature`.",
        },
        "amqp": {
            "address": exchange.name,
            "title": "The AMQP exchange",
            "description": "The routing key is the type, `message_id` the event's id; messages are"
            " persistent. A queue gets what comes after it was bound.",
            "servers": [{"$ref": "#/servers/rabbitmq"}],
            "bindings": {
                "amqp": {
                    "is": "routingKey",
                    "exchange": {
                        "name": exchange.name,
                        "type": exchange.type,
                        "durable": exchange.durable,
                        "autoDelete": exchange.auto_delete,
                    },
                    "bindingVersion": _BINDING,
                }
            },
        },
    }


def _reports_channel() -> Json:
    return {
        "address": stream.STREAM,
        "title": "Reports of generation",
        "description": "What a pipeline says of a video's generation: one field"
        f" `{stream.FIELD}` with the document.",
        "servers": [{"$ref": "#/servers/redis"}],
    }


def _operations() -> Json:
    """What this application does: it sends events, and receives reports."""
    sent: Json = {
        name: {"action": "send", "channel": {"$ref": f"#/channels/{name}"}} for name in _outlets()
    }
    sent["feed"]["bindings"] = _query(FeedFilter)
    sent["sse"]["bindings"] = _query(StreamQuery)
    sent["sse"]["security"] = [_BEARER, _KEY_IN_URL]
    sent["webhooks"]["bindings"] = {"http": {"method": "POST", "bindingVersion": _BINDING}}
    sent["amqp"]["bindings"] = {
        "amqp": {"deliveryMode": amqp.PERSISTENT, "timestamp": True, "bindingVersion": _BINDING}
    }
    received = {"action": "receive", "channel": {"$ref": "#/channels/reports"}}
    return {f"send-{name}": each for name, each in sent.items()} | {"receive-reports": received}


def _query(asked: type[StreamFilter]) -> Json:
    query = asked.model_json_schema(ref_template=REF)
    query.pop("$defs", None)
    return {"http": {"method": "GET", "query": query, "bindingVersion": _BINDING}}


def _event_message(kind: EventType, base_url: str) -> Json:
    data = EVENT_DATA[kind]
    return {
        "name": kind.value,
        "title": data.__name__,
        "summary": " ".join((data.__doc__ or "").split()),
        "contentType": CLOUD_EVENTS,
        "payload": _envelope("CloudEvent", kind, data.__name__),
        "externalDocs": {
            "description": "The JSON Schema of `data`, as its `dataschema` names it.",
            "url": schema_url(base_url, kind),
        },
    }


def _report_message(kind: GenerationEventType) -> Json:
    return {
        "name": kind.value,
        "title": f"Generation {kind.kind}",
        "contentType": CLOUD_EVENTS,
        "payload": _envelope(
            "GenerationEvent", kind, "ReportData", {"not": has_foreign_field(kind.kind)}
        ),
    }


def _envelope(model: str, kind: str, data: str, conditions: Json | None = None) -> Json:
    """The envelope's schema, of one type, with conditions on its data."""
    return {
        "allOf": [
            {"$ref": REF.format(model=model)},
            {
                "type": "object",
                "properties": {
                    "type": {"const": kind},
                    "data": {"$ref": REF.format(model=data), **(conditions or {})},
                },
            },
        ]
    }


def _schemas() -> Json:
    _, envelope = models_json_schema([(CloudEvent, "serialization")], ref_template=REF)
    _, report = models_json_schema([(GenerationEvent, "validation")], ref_template=REF)
    schemas = {**report["$defs"], **allow_additional_properties(envelope["$defs"])}
    return {**schemas, "CloudEvent": open_envelope(schemas["CloudEvent"])}


def _refs(messages: Json) -> Json:
    return {name: {"$ref": f"#/components/messages/{name}"} for name in messages}
