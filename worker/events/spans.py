"""The spans of the relay: one for each event that an outlet got, in the trace of its command."""

import time
from collections.abc import Iterable

from publish_worker_client.events.outbox import RecordedEvent
from worker.runtime.tracing import COMMAND_ID, WORKSPACE_ID, get_tracer

DESTINATION = "video.events"
"""The name of the stream, and of the exchange."""


def start_clock() -> int:
    """Return when an outlet begins to send; 0: traces are off."""
    return 0 if get_tracer() is None else time.time_ns()


def record_sent(events: Iterable[RecordedEvent], system: str, started_ns: int) -> None:
    """Record a span for each event that was sent just now, if its command is traced.

    `system` is OpenTelemetry's name of the broker, `started_ns` what `start_clock` returned.
    """
    tracer = get_tracer()
    if tracer is None:
        return
    ended_ns = time.time_ns()
    for event in events:
        if event.traceparent is None:
            continue
        span = tracer.start(f"send {DESTINATION}", event.traceparent, "producer", None, started_ns)
        if span.is_recording():
            span.set_attribute("messaging.system", system)
            span.set_attribute("messaging.operation.type", "send")
            span.set_attribute("messaging.destination.name", DESTINATION)
            span.set_attribute("messaging.message.id", event.id)
            span.set_attribute("cloudevents.event_type", event.type)
            span.set_attribute(COMMAND_ID, str(event.command_id))
            span.set_attribute(WORKSPACE_ID, event.workspace_id)
            tracer.end(span, end_ns=ended_ns)
