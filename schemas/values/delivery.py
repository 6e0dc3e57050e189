"""Deliveries: where to send, one try, and what becomes of it, as plain values."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from schemas.webhook import DeliveryState

SUCCESS = range(200, 300)
GONE = 410


@dataclass(frozen=True, slots=True, kw_only=True)
class Receiver:
    """An endpoint, as far as sending to it needs to know."""

    id: UUID
    workspace_id: int
    url: str
    secret: str
    previous_secret: str | None
    previous_secret_until: datetime | None
    """Until then both sign."""

    def __repr__(self) -> str:
        """Without the secrets: whatever prints it, a log line perhaps."""
        return f"Receiver({self.id}, {self.url!r})"


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """One try: what was sent was answered, or not."""

    started_at: datetime
    duration_ms: int
    status: int | None
    """None: there was no answer."""
    error: str | None
    answer: str | None
    """The first KiB of its body."""
    retry_after: timedelta | None = None
    """How long the receiver asked us to wait."""

    @property
    def succeeded(self) -> bool:
        """Any 2xx; a redirect is none, and is not followed."""
        return self.status in SUCCESS


@dataclass(frozen=True, slots=True, kw_only=True)
class Settled:
    """A try that was made, and what becomes of the delivery."""

    delivery_id: UUID
    endpoint_id: UUID
    claimed_until: datetime
    """Of the claim under which it was made: a later one's result is not overwritten."""
    attempt: Attempt
    state: DeliveryState
    pause: timedelta
    """Until the next try, if it is still pending."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Health:
    """What a batch of tries says of one endpoint."""

    endpoint_id: UUID
    succeeded: bool
    """Whether any of them did."""
    failing_since: datetime | None
    """The first failure behind the last success; None: the last try was one."""
    gone: bool
    """It answered that it does not exist any more."""
    detail: str
    """The last failure, for people."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DisabledEndpoint:
    """An endpoint that has just been disabled for what it did."""

    id: UUID
    workspace_id: int
    url: str
    reason: str
    detail: str
    disabled_at: datetime
