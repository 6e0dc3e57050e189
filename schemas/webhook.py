"""Webhooks: endpoints, what is delivered to them, and each try at it."""

from datetime import datetime
from enum import StrEnum
from typing import Annotated, Any, Self
from uuid import UUID

from pydantic import AfterValidator, ConfigDict, Field, StringConstraints, model_validator

from schemas.events import EventType
from schemas.fields import INT64_MAX, Flag, Frozen, Id, ShortText, Text

MAX_ENDPOINTS = 50
"""The most endpoints that one workspace may have."""


class EndpointState(StrEnum):
    """Whether an endpoint is told."""

    ENABLED = "enabled"
    DISABLED = "disabled"


class DeliveryState(StrEnum):
    """Where a delivery is."""

    PENDING = "pending"
    DELIVERED = "delivered"
    FAILED = "failed"
    """Every try at it has failed; it can be replayed."""
    CANCELLED = "cancelled"
    """Its endpoint was disabled or removed before it arrived."""


def _each_once(types: list[EventType]) -> list[EventType]:
    return list(dict.fromkeys(types))


def _without_defaults(schema: dict[str, Any]) -> None:
    for field in schema["properties"].values():
        field.pop("default", None)


UNSAID: Any = None
"""A field that may be left out, but not be null: only what was said is in `model_fields_set`."""

EndpointUrl = Annotated[
    Text,
    StringConstraints(min_length=1, max_length=2000),
    Field(json_schema_extra={"format": "uri"}),
]
"""What is an address of ours to call is checked where it is registered, and at each call."""
EventTypes = Annotated[list[EventType], Field(min_length=1), AfterValidator(_each_once)]


class NewWebhookEndpoint(Frozen):
    """An endpoint to register."""

    url: EndpointUrl
    """Where to POST the events: https, and public, unless the operator allows otherwise."""
    event_types: EventTypes | None = None
    """Only events of these types; null: all of them."""
    description: ShortText = ""
    workspace_id: Id | None = None
    """Whose events to tell; a key of one workspace may leave it out."""


class WebhookEndpointChange(Frozen):
    """What may be changed of an endpoint; what is not said stays."""

    model_config = ConfigDict(json_schema_extra=_without_defaults)

    url: EndpointUrl = UNSAID
    event_types: EventTypes | None = UNSAID
    """Only events of these types from now on; null: all of them."""
    description: ShortText = UNSAID
    state: EndpointState = UNSAID
    """`disabled` gives up what is pending; `enabled` starts with the next event. What was missed
    meanwhile is not sent unless it is replayed."""

    @model_validator(mode="after")
    def _says_something(self) -> Self:
        if not self.model_fields_set:
            raise ValueError("say url, event_types, description or state")
        return self


class WebhookEndpoint(Frozen):
    """An endpoint as it stands; its secret is shown only where it is made."""

    id: UUID
    workspace_id: int
    url: str
    description: str
    event_types: list[EventType] | None
    """Null: all of them."""
    state: EndpointState
    disabled_reason: str | None
    """`requested`; or what we disabled it for: `gone` (it answered 410) or `failing` (for days)."""
    failing_since: datetime | None
    """The first failed attempt since the last one that succeeded."""
    previous_secret_until: datetime | None
    """Until then the secret before the last rotation signs too."""
    created_at: datetime


class WebhookEndpointWithSecret(WebhookEndpoint):
    """An endpoint with the secret that has just been made for it."""

    secret: str
    """`whsec_` and 32 random bytes in base64; shown this once, so keep it."""


class WebhookEndpoints(Frozen):
    """Endpoints, the newest first; `next` is the URL of the next page, if there is one."""

    endpoints: list[WebhookEndpoint]
    next: str | None = None


class EndpointFilter(Frozen):
    """Which endpoints to list, and where to begin."""

    workspace_id: Annotated[int, Field(ge=1, le=INT64_MAX)] | None = None
    """Only those of this workspace, for keys that see several."""
    before: UUID | None = None
    """The last endpoint of the page before."""
    limit: Annotated[int, Field(ge=1, le=200)] = 50
    """How many at once."""


class WebhookAttempt(Frozen):
    """One try at a delivery."""

    id: UUID
    started_at: datetime
    duration_ms: int
    status: int | None
    """The HTTP status; null: there was no answer."""
    error: str | None
    """Why there was no answer."""
    answer: str | None
    """The first KiB of the answer's body."""


class WebhookDelivery(Frozen):
    """One event for one endpoint."""

    id: UUID
    endpoint_id: UUID
    position: int
    """The event's place in the order of all."""
    event_id: UUID
    """What the receiver sees as `webhook-id`, the same at each attempt."""
    event_type: EventType
    video_id: int | None
    state: DeliveryState
    attempts: int
    """How many have been made since it was last begun or replayed."""
    due_at: datetime
    """When the next attempt is due, while it is `pending`."""
    created_at: datetime
    finished_at: datetime | None


class WebhookDeliveryWithAttempts(WebhookDelivery):
    """A delivery with what came of each attempt."""

    log: list[WebhookAttempt]
    """The last 100 attempts, those before a replay too; the last one first."""


class WebhookDeliveries(Frozen):
    """Deliveries, the highest position first; `next` is the URL of the next page, if any."""

    deliveries: list[WebhookDelivery]
    next: str | None = None


class DeliveryFilter(Frozen):
    """Which deliveries of an endpoint to list, and where to begin."""

    state: DeliveryState | None = None
    """Only those in this state."""
    before: Annotated[int, Field(ge=1, le=INT64_MAX)] | None = None
    """Only those of events before this position: the last one of the page before."""
    limit: Annotated[int, Field(ge=1, le=200)] = 50
    """How many at once."""


class ReplayRequest(Frozen):
    """What to send again: either everything from a position on, or everything that failed."""

    since_position: Id | None = None
    """Every event from this position on, itself included, that the endpoint asks for: whether it
    was delivered, failed, or fell into a time when the endpoint was disabled or not there yet."""
    failed: Flag = False
    """Every delivery that is `failed`, oldest first."""

    @model_validator(mode="after")
    def _one_of_both(self) -> Self:
        if (self.since_position is None) is not self.failed:
            raise ValueError("say either since_position or failed: true")
        return self


class Replayed(Frozen):
    """What a replay set going."""

    deliveries: int
    """How many will be sent again."""
    next_position: int | None = None
    """Where to go on, as `since_position`, if that was more than the 10,000 that one call takes."""


class WebhookTest(Frozen):
    """What came of a test event."""

    delivered: bool
    """Whether the answer was 2xx."""
    started_at: datetime
    duration_ms: int
    status: int | None
    """The HTTP status; null: there was no answer."""
    error: str | None
    """Why there was no answer."""
    answer: str | None
    """The first KiB of the answer's body."""
