"""The CloudEvents 1.0 envelope of events, as the worker sends it."""

from datetime import datetime
from typing import Literal
from uuid import UUID

from publish_worker_client.events.data import EventData
from publish_worker_client.events.names import EventType
from schemas.fields import Frozen


class CloudEvent(Frozen):
    """The envelope: CloudEvents 1.0, structured JSON, with extension attributes."""

    specversion: Literal["1.0"] = "1.0"
    id: UUID
    """The same in every redelivery: use it to detect duplicates."""
    source: str
    """`/workspaces/{id}`."""
    type: EventType
    subject: str
    """The video's id. For `webhook.endpoint_disabled`: the endpoint's id."""
    time: datetime
    datacontenttype: Literal["application/json"] = "application/json"
    dataschema: str
    sequence: str
    """The position: 1, 2, 3 …, without gaps."""
    partitionkey: str
    """The subject. Events with the same key are delivered in order."""
    videorevision: int | None = None
    correlationid: str
    causationid: UUID | None = None
    """The command's id. null: no command caused the event."""
    traceparent: str | None = None
    data: EventData
