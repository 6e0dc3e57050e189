"""Events: CloudEvents 1.0 that the official SDK parses, with data of the declared shape."""

import json
from typing import Any

import pytest
from cloudevents.core.bindings.http import HTTPMessage, from_structured
from cloudevents.core.formats.json import JSONFormat
from pydantic import TypeAdapter

from publish_worker_client.events.data import EVENT_DATA
from publish_worker_client.events.names import EventType
from schemas.command import PublishRequest
from schemas.events import CloudEvent
from tests.support.pipeline import Pipeline

TRACEPARENT = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"


@pytest.fixture
def event(pipeline: Pipeline) -> dict[str, Any]:
    """One `video.published` from the stream."""
    video = pipeline.video(description="Waves", generated_script="one two", duration=60)
    pipeline.publish(video, correlation_id="c-42", traceparent=TRACEPARENT)
    return pipeline.events()[0]


def test_the_envelope_has_every_attribute(event: dict[str, Any]) -> None:
    assert event["specversion"] == "1.0"
    assert event["type"] == "video.published"
    assert event["source"] == "/workspaces/1"
    assert event["subject"] == event["partitionkey"] == str(event["data"]["video_id"])
    assert event["sequence"] == "1"
    assert event["videorevision"] == 1
    assert event["correlationid"] == "c-42"
    assert event["traceparent"] == TRACEPARENT
    assert event["dataschema"].endswith("/schemas/video.published/1")
    assert event["datacontenttype"] == "application/json"


def test_the_official_sdk_parses_it(event: dict[str, Any]) -> None:
    headers = {"content-type": "application/cloudevents+json"}
    message = HTTPMessage(headers=headers, body=json.dumps(event).encode())
    parsed = from_structured(message, JSONFormat())
    assert parsed.get_type() == "video.published"
    assert parsed.get_extension("sequence") == "1"


def test_the_envelope_is_the_declared_one(event: dict[str, Any]) -> None:
    assert str(CloudEvent.model_validate(event).id) == event["id"]


def test_the_data_carries_what_a_consumer_needs(event: dict[str, Any]) -> None:
    data = event["data"]
    assert data["url"] == f"https://videos.example/{data['custom_url']}"
    assert data["metrics"]["script_words"] == 2
    assert data["owner"] == {"id": 1, "username": "ada", "full_name": "Ada B"}
    assert data["first_publication"] is True


def test_no_event_contains_an_email_address_or_an_internal_note(pipeline: Pipeline) -> None:
    video = pipeline.video()
    pipeline.execute(
        'INSERT INTO section (video_id, "order", internal_notes) VALUES (%s, 1, %s)',
        video,
        "secret note",
    )
    pipeline.publish(video)
    told = json.dumps(pipeline.events())
    assert "secret note" not in told
    assert "ada@example.com" not in told


@pytest.mark.parametrize("kind", EventType)
def test_every_type_of_event_has_a_schema(kind: EventType) -> None:
    schema = TypeAdapter(EVENT_DATA[kind]).json_schema()
    assert schema["additionalProperties"] is False
    assert schema["required"]


def test_every_event_has_data_of_its_types_shape(pipeline: Pipeline) -> None:
    fine, failed, late = (
        pipeline.video(),
        pipeline.video(status="failed"),
        pipeline.video(status="not_started"),
    )
    pipeline.publish(fine, failed)
    pipeline.accept(PublishRequest(video_id=late))
    pipeline.execute(
        "UPDATE publisher.publish_command SET publish_before = now() WHERE video_id = %s", late
    )
    pipeline.run()
    events = pipeline.events()
    assert [event["type"] for event in events] == [
        "video.published",
        "video.publish_rejected",
        "video.publish_expired",
    ]
    for event in events:
        TypeAdapter(EVENT_DATA[EventType(event["type"])]).validate_python(event["data"])


def test_the_id_of_an_event_survives_a_rebuilt_stream(
    event: dict[str, Any], pipeline: Pipeline
) -> None:
    pipeline.redis.flushall()
    assert pipeline.events()[0]["id"] == event["id"]
