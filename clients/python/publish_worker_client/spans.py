"""Spans by OpenTelemetry's API: a tracer whose parents are W3C `traceparent` texts.

Commands and events carry the parent of their next span as such a text.
"""

import time
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from typing import Literal

from opentelemetry.context import Context
from opentelemetry.trace import (
    Span,
    SpanKind,
    Status,
    StatusCode,
    get_current_span,
    use_span,
)
from opentelemetry.trace import Tracer as OpenTelemetryTracer
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

Kind = Literal["internal", "server", "client", "producer", "consumer"]
Attributes = Mapping[str, str | int | bool]

ERROR_TYPE = "error.type"
SCOPE = "publish_worker"
"""The name of the instrumentation scope of every span."""
_KINDS: Mapping[Kind, SpanKind] = {
    "internal": SpanKind.INTERNAL,
    "server": SpanKind.SERVER,
    "client": SpanKind.CLIENT,
    "producer": SpanKind.PRODUCER,
    "consumer": SpanKind.CONSUMER,
}
_W3C = TraceContextTextMapPropagator()


class Tracer:
    """Makes spans. Whether one is recorded, its sampler decides; a span that does not end is not
    exported.
    """

    def __init__(self, tracer: OpenTelemetryTracer) -> None:
        self._tracer = tracer

    def start(
        self,
        name: str,
        parent: str | None,
        kind: Kind = "internal",
        attributes: Attributes | None = None,
        start_ns: int | None = None,
    ) -> Span:
        """Start a span below `parent`; None, or an invalid one: at the root of a new trace.

        `start_ns` is the time by `time.time_ns()`; None: now.
        """
        context = _W3C.extract({"traceparent": parent}, Context()) if parent else Context()
        return self._tracer.start_span(
            name, context, _KINDS[kind], attributes=attributes, start_time=start_ns
        )

    @contextmanager
    def use(self, span: Span) -> Generator[None]:
        """Make a span the current one, which log lines name, while the block runs."""
        with use_span(span, record_exception=False, set_status_on_exception=False):
            yield

    def carry(self, span: Span, given: str | None) -> str:
        """Return the `traceparent` for what happens below a span: its own if it is recorded.

        Otherwise the `given` one, so that what its caller did not sample stays as it was.
        """
        if given is not None and not span.is_recording():
            return given
        return to_traceparent(span)

    def end(self, span: Span, error: str | None = None, end_ns: int | None = None) -> None:
        """End a span; `error` is the type of what failed, never its text."""
        if error is not None:
            span.set_attribute(ERROR_TYPE, error)
            span.set_status(Status(StatusCode.ERROR))
        span.end(end_ns)

    def link(self, span: Span, to: Span, attributes: Attributes | None = None) -> None:
        """Link a span to another one."""
        span.add_link(to.get_span_context(), attributes)

    def get_current_ids(self) -> dict[str, str]:
        """Return the ids of the current span, as OpenTelemetry names them in log lines."""
        context = get_current_span().get_span_context()
        if not context.is_valid:
            return {}
        return {"trace_id": f"{context.trace_id:032x}", "span_id": f"{context.span_id:016x}"}


def to_traceparent(span: Span) -> str:
    """Return a span's context as a W3C `traceparent`."""
    context = span.get_span_context()
    flags = int(context.trace_flags)
    return f"00-{context.trace_id:032x}-{context.span_id:016x}-{flags:02x}"


def read_clock() -> int:
    """Return the time of spans: nanoseconds since 1970."""
    return time.time_ns()
