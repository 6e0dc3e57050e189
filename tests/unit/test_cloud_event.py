"""The envelope is built by hand: it equals the output of json.dumps, to the byte."""

import json
from datetime import UTC, datetime, timedelta, timezone
from typing import Any
from uuid import UUID

from hypothesis import given
from hypothesis import strategies as st

from publish_worker_client.events.cloud_event import schema_url, to_cloud_event
from publish_worker_client.events.outbox import RecordedEvent

BASE_URL = "https://videos.example/ü/"
TEXT = st.text(max_size=40)


def dump_with_json(event: RecordedEvent) -> str:
    envelope: dict[str, Any] = {
        "specversion": "1.0",
        "id": str(event.id),
        "source": f"/workspaces/{event.workspace_id}",
        "type": event.type,
        "subject": event.subject,
        "time": event.occurred_at.astimezone(UTC).isoformat().replace("+00:00", "Z"),
        "datacontenttype": "application/json",
        "dataschema": schema_url(BASE_URL, event.type),
        "sequence": str(event.position),
        "partitionkey": event.subject,
        "correlationid": event.correlation_id,
    }
    if event.command_id is not None:
        envelope["causationid"] = str(event.command_id)
    if event.revision is not None:
        envelope["videorevision"] = event.revision
    if event.traceparent is not None:
        envelope["traceparent"] = event.traceparent
    return f'{json.dumps(envelope)[:-1]}, "data": {event.data}}}'


@given(
    st.builds(
        RecordedEvent,
        position=st.integers(1, 2**63 - 1),
        id=st.uuids(),
        type=TEXT,
        subject=TEXT,
        workspace_id=st.integers(1, 2**31),
        occurred_at=st.datetimes(
            datetime(2000, 1, 1),  # noqa: DTZ001 - the zone is drawn
            datetime(2100, 1, 1),  # noqa: DTZ001
            timezones=st.sampled_from([UTC, timezone(timedelta(hours=5, minutes=30))]),
        ),
        revision=st.none() | st.integers(1, 2**31),
        command_id=st.none() | st.just(UUID(int=7)),
        correlation_id=TEXT,
        traceparent=st.none() | TEXT,
        data=st.just('{"title": "Ü"}'),
    )
)
def test_the_envelope_equals_the_output_of_json_dumps(event: RecordedEvent) -> None:
    assert to_cloud_event(event, BASE_URL) == dump_with_json(event)
