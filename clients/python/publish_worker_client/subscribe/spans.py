"""The span of a delivery: from its handler's call, or its delivery, to `ack()` or `fail()`.

Only in a process that has configured OpenTelemetry itself: nothing is imported or configured here.
"""

import sys
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, Any

from publish_worker_client.subscribe.stream_entry import Entry
from publish_worker_client.trace_context import check_traceparent

if TYPE_CHECKING:
    from opentelemetry.trace import Span

    from publish_worker_client.spans import Tracer

NAME = "process video.events"


class DeliverySpan:
    """The span of one delivery."""

    def __init__(self, tracer: "Tracer", span: "Span") -> None:
        self._tracer = tracer
        self._span = span

    def use(self) -> AbstractContextManager[None]:
        """Make it the current span of a handler: the spans of its own calls are below it."""
        return self._tracer.use(self._span)

    def end(self, error: BaseException | str | None = None) -> None:
        """End it, once; `error` is why the try failed."""
        if self._span.is_recording():
            kind = "failed" if isinstance(error, str) else type(error).__name__
            self._tracer.end(self._span, None if error is None else kind)


class DeliverySpans:
    """Makes the spans of one subscriber's deliveries."""

    def __init__(self, group: str) -> None:
        self._group = group
        self._tracer: Tracer | None = None

    def start(self, entry: Entry) -> DeliverySpan | None:
        """Start the span of a delivery; None: this process has not configured OpenTelemetry."""
        tracer = self._tracer = self._tracer or _find_tracer()
        if tracer is None:
            return None
        event = _read_event(entry)
        span = tracer.start(NAME, check_traceparent(event.get("traceparent")), "consumer")
        if span.is_recording():
            span.set_attribute("messaging.system", "redis")
            span.set_attribute("messaging.operation.type", "process")
            span.set_attribute("messaging.destination.name", "video.events")
            span.set_attribute("messaging.consumer.group.name", self._group)
            span.set_attribute("messaging.message.id", str(event.get("id", "")))
            span.set_attribute("cloudevents.event_type", str(event.get("type", "")))
            span.set_attribute("publish_worker.attempts", max(entry.tries, 1))
        return DeliverySpan(tracer, span)


def use_span(span: DeliverySpan | None) -> AbstractContextManager[None]:
    """Make a delivery's span the current one, if there is one."""
    return nullcontext() if span is None else span.use()


def _find_tracer() -> "Tracer | None":
    trace: Any = sys.modules.get("opentelemetry.trace")
    if trace is None or isinstance(trace.get_tracer_provider(), trace.ProxyTracerProvider):
        return None
    from publish_worker_client.spans import SCOPE, Tracer  # noqa: PLC0415 - only if it is used here

    return Tracer(trace.get_tracer(SCOPE))


def _read_event(entry: Entry) -> dict[str, Any]:
    """Return the document; empty if it is broken: then the handler's try fails, not the reading."""
    try:
        return entry.document
    except (ValueError, RecursionError):
        return {}
