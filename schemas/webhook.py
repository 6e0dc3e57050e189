"""Webhooks: endpoints, deliveries to them, and the attempts of each delivery."""

from datetime import datetime
from enum import StrEnum
from typing import Annotated, ClassVar, Self
from uuid import UUID

from pydantic import AfterValidator, Field, StringConstraints, model_validator

from publish_worker_client.events.names import EventType
from schemas.fields import (
    INT64_MAX,
    MAX_URI,
    UNSET,
    Flag,
    Frozen,
    Id,
    Int32,
    ShortText,
    Storable,
    check_absolute,
)
from schemas.json_schema import Described, Schema, all_of, is_given, none_of

MAX_ENDPOINTS = 50
"""The limit of endpoints per workspace."""


class EndpointState(StrEnum):
    """Whether an endpoint receives events."""

    ENABLED = "enabled"
    DISABLED = "disabled"


class DeliveryState(StrEnum):
    """The state of a delivery."""

    PENDING = "pending"
    DELIVERED = "delivered"
    FAILED = "failed"
    """Its last attempt has failed; it can be replayed."""
    CANCELLED = "cancelled"
    """Its endpoint was disabled before it was delivered."""


def _each_once(types: list[EventType]) -> list[EventType]:
    return list(dict.fromkeys(types))


EndpointUrl = Annotated[
    str,
    StringConstraints(strict=True, min_length=1, max_length=MAX_URI),
    Storable(),
    AfterValidator(check_absolute),
    Described({"format": "uri"}),
]
"""worker.webhooks.addresses checks it at registration and at each attempt."""
EventTypes = Annotated[
    list[EventType], Field(min_length=1, fail_fast=True), AfterValidator(_each_once)
]


class WebhookRegistration(Frozen):
    """An endpoint to register."""

    url: EndpointUrl
    """The URL that events are POSTed to: https and a public address, unless the operator allows
    private ones."""
    event_types: EventTypes | None = None
    """Send only events of these types; null: every type."""
    description: ShortText = ""
    workspace_id: Id | None = None
    """The workspace whose events are sent; optional for a key that is confined to one workspace."""


class WebhookEndpointChange(Frozen):
    """A change of an endpoint. Fields that are left out keep their values."""

    CONDITIONS: ClassVar[Schema] = {"minProperties": 1}

    url: EndpointUrl = UNSET
    event_types: EventTypes | None = UNSET
    """Send only events of these types from now on; null: every type."""
    description: ShortText = UNSET
    state: EndpointState = UNSET
    """`disabled` cancels pending deliveries; `enabled` starts with the next event. Events that were
    missed are sent only on replay."""

    @model_validator(mode="after")
    def _has_a_field(self) -> Self:
        if not self.model_fields_set:
            raise ValueError("set url, event_types, description or state")
        return self


class WebhookEndpoint(Frozen):
    """An endpoint without its secret."""

    id: UUID
    workspace_id: int
    url: str
    description: str
    event_types: list[EventType] | None
    """Null: every type."""
    state: EndpointState
    disabled_reason: str | None
    """`requested` by a caller, `gone` (it answered 410) or `failing` (for five days)."""
    failing_since: datetime | None
    """The first failed attempt since the last success."""
    previous_secret_until: datetime | None
    """The previous secret signs too until then."""
    created_at: datetime


class WebhookEndpointWithSecret(WebhookEndpoint):
    """An endpoint with the secret that was just created for it."""

    secret: str = Field(repr=False)
    """`whsec_` and 32 random bytes in base64. Store it: it is shown only once."""


class WebhookEndpoints(Frozen):
    """A page of endpoints, the newest first; `next` is the URL of the next page, if any."""

    endpoints: list[WebhookEndpoint]
    next: str | None = None


class EndpointFilter(Frozen):
    """A filter for endpoints, and the start of the page."""

    workspace_id: Annotated[int, Field(ge=1, le=INT64_MAX)] | None = None
    """Only endpoints of this workspace, for keys that see every workspace."""
    before: UUID | None = None
    """The last endpoint of the previous page."""
    limit: Annotated[int, Field(ge=1, le=200)] = 50
    """The size of the page."""


class WebhookAttempt(Frozen):
    """One attempt of a delivery: one HTTP request."""

    id: UUID
    started_at: datetime
    duration_ms: int
    status: Int32 | None
    """The HTTP status; null: no answer arrived."""
    error: str | None
    """Why no answer arrived."""
    answer: str | None
    """The first KiB of the answer's body."""


class WebhookDelivery(Frozen):
    """One event for one endpoint."""

    id: UUID
    endpoint_id: UUID
    position: int
    """The event's position in the order of all events."""
    event_id: UUID
    """The receiver sees it as `webhook-id`, the same at each attempt."""
    event_type: EventType
    video_id: int | None
    state: DeliveryState
    attempts: Int32
    """The number of attempts since the delivery was made or last replayed."""
    due_at: datetime
    """The time of the next attempt, while the state is `pending`."""
    created_at: datetime
    finished_at: datetime | None


class WebhookDeliveryWithAttempts(WebhookDelivery):
    """A delivery with its attempts."""

    log: list[WebhookAttempt]
    """The last 100 attempts, including those before a replay; the latest first."""


class WebhookDeliveries(Frozen):
    """A page of deliveries, the highest position first; `next` is the next page's URL."""

    deliveries: list[WebhookDelivery]
    next: str | None = None


class DeliveryFilter(Frozen):
    """A filter for deliveries of an endpoint, and the start of the page."""

    state: DeliveryState | None = None
    """Only deliveries in this state."""
    before: Annotated[int, Field(ge=1, le=INT64_MAX)] | None = None
    """Only deliveries before this position: the last position of the previous page."""
    limit: Annotated[int, Field(ge=1, le=200)] = 50
    """The size of the page."""


_IS_FAILED: Schema = {"required": ["failed"], "properties": {"failed": {"const": True}}}


class ReplayRequest(Frozen):
    """A replay: either every event from a position on, or every failed delivery."""

    CONDITIONS: ClassVar[Schema] = none_of(
        [
            all_of(is_given("since_position"), _IS_FAILED),
            none_of([is_given("since_position"), _IS_FAILED]),
        ]
    )

    since_position: Id | None = None
    """Every event of the endpoint's types from this position on, itself included. This covers
    delivered and failed events, and those from before the endpoint existed or was enabled."""
    failed: Flag = False
    """Every delivery in the state `failed`, the oldest first."""

    @model_validator(mode="after")
    def _has_one_kind(self) -> Self:
        if (self.since_position is None) is not self.failed:
            raise ValueError("set either since_position or failed: true")
        return self


class Replayed(Frozen):
    """The result of a replay."""

    deliveries: int
    """The number of deliveries that will be sent again."""
    next_position: int | None = None
    """The `since_position` of the next call, if this one reached its limit of 10,000 deliveries."""


class WebhookTest(Frozen):
    """The result of a test event."""

    delivered: bool
    """Whether the status was 2xx."""
    started_at: datetime
    duration_ms: int
    status: Int32 | None
    """The HTTP status; null: no answer arrived."""
    error: str | None
    """Why no answer arrived."""
    answer: str | None
    """The first KiB of the answer's body."""
