"""Values of webhook deliveries: the receiver, one attempt, its result, an endpoint's health."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from schemas.webhook import DeliveryState

SUCCESS = range(200, 300)
GONE = 410


@dataclass(frozen=True, slots=True, kw_only=True)
class Receiver:
    """What an attempt needs of an endpoint: its URL and the secrets that sign."""

    id: UUID
    workspace_id: int
    url: str
    secret: str
    previous_secret: str | None
    previous_secret_until: datetime | None
    """Both secrets sign until then."""

    def __repr__(self) -> str:
        """Leave the secrets out, in case a log line prints this."""
        return f"Receiver({self.id}, {self.url!r})"


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """One HTTP request, answered or not."""

    started_at: datetime
    duration_ms: int
    status: int | None
    """None: no answer arrived."""
    error: str | None
    answer: str | None
    """The first KiB of the answer's body."""
    retry_after: timedelta | None = None
    """The wait that the receiver asked for."""

    @property
    def succeeded(self) -> bool:
        """Whether the status is 2xx. Redirects are not followed and count as failures."""
        return self.status in SUCCESS


@dataclass(frozen=True, slots=True, kw_only=True)
class DeliveryResult:
    """An attempt, and the delivery's next state."""

    delivery_id: UUID
    endpoint_id: UUID
    claimed_until: datetime
    """Identifies the claim; the result of a later claim is not overwritten."""
    attempt: Attempt
    state: DeliveryState
    pause: timedelta
    """The time until the next attempt if the delivery stays pending."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EndpointHealth:
    """The health of one endpoint according to a batch of attempts."""

    endpoint_id: UUID
    succeeded: bool
    """Whether any attempt succeeded."""
    failing_since: datetime | None
    """The first failure after the last success; None: the last attempt succeeded."""
    gone: bool
    """Whether the endpoint answered 410 Gone."""
    detail: str
    """The last failure in words."""
