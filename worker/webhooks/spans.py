"""The span of an attempt: an HTTP client's, in the trace of the event's command."""

from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from db.webhooks.deliveries import ClaimedDelivery
from schemas.values.delivery import Attempt
from worker.runtime.tracing import ATTEMPTS, COMMAND_ID, WORKSPACE_ID, get_tracer

if TYPE_CHECKING:
    from opentelemetry.trace import Span

    from publish_worker_client.spans import Tracer


@dataclass(frozen=True, kw_only=True)
class AttemptSpan:
    """The span of one attempt."""

    tracer: "Tracer"
    span: "Span"
    traceparent: str
    """For the receiver."""

    def end(self, attempt: Attempt) -> None:
        """End it with what happened."""
        failed = None if attempt.succeeded else str(attempt.status or "no_answer")
        if attempt.status is not None:
            self.span.set_attribute("http.response.status_code", attempt.status)
        self.tracer.end(self.span, failed)


def trace_attempt(delivery: ClaimedDelivery) -> AttemptSpan | None:
    """Start the span of an attempt; None: traces are off, or the event is not traced.

    The receiver's path is not in it, for it may be a secret.
    """
    tracer, event = get_tracer(), delivery.event
    if tracer is None or event.traceparent is None:
        return None
    span = tracer.start("POST", event.traceparent, "client", {"http.request.method": "POST"})
    if span.is_recording():
        host = urlsplit(delivery.receiver.url)
        span.set_attribute("server.address", host.hostname or "")
        span.set_attribute("url.scheme", host.scheme)
        span.set_attribute("messaging.message.id", event.id)
        span.set_attribute("cloudevents.event_type", event.type)
        span.set_attribute("publish_worker.webhook_endpoint.id", str(delivery.receiver.id))
        span.set_attribute(COMMAND_ID, str(event.command_id))
        span.set_attribute(WORKSPACE_ID, event.workspace_id)
        span.set_attribute(ATTEMPTS, delivery.attempts + 1)
    carried = tracer.carry(span, event.traceparent)
    return AttemptSpan(tracer=tracer, span=span, traceparent=carried)
