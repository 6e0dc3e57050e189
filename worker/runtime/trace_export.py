"""The export of spans, by OpenTelemetry's SDK. Imported only where traces are on.

Spans wait in a bounded queue; a thread exports them. A collector that is unreachable or hangs costs
spans, and one line in the log, never the time of a request or a batch.
"""

import logging
import os
from collections.abc import Callable, Sequence
from importlib.metadata import entry_points, version
from logging import Handler, LogRecord

from opentelemetry.sdk.resources import SERVICE_NAME, OTELResourceDetector, Resource
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult

from publish_worker_client.spans import SCOPE, Tracer
from worker.runtime.outage import Outage
from worker.runtime.tracing import EXPORTERS

MUTED = ("opentelemetry.exporter", "opentelemetry.sdk._shared_internal")
"""Loggers that report each failed export in lines of their own."""


class NotExported(Exception):
    """Spans were not exported."""


class SpansDropped(NotExported):
    """Spans were dropped."""


def open_provider(exporters: Sequence[str], role: str) -> tuple[Tracer, Callable[[], object]]:
    """Return this process's tracer, and what exports the last spans and stops.

    The SDK reads everything else from its environment variables: the sampler, the limits, the
    queue, the endpoint.
    """
    provider = TracerProvider(resource=_describe_service(role), shutdown_on_exit=False)
    outage = Outage("traces.not_exported", "traces.exported_again")
    failures = _Failures(outage)
    for name in MUTED:
        logger = logging.getLogger(name)
        logger.handlers, logger.propagate = [failures], False
    for name in exporters:
        [found] = entry_points(group=EXPORTERS, name=name)
        exporter = _WatchedExporter(found.load()(), outage, failures)
        provider.add_span_processor(BatchSpanProcessor(exporter))
    tracer = provider.get_tracer(SCOPE, version("publish-worker"))
    return Tracer(tracer), provider.shutdown


def _describe_service(role: str) -> Resource:
    """Describe this process; OTEL_SERVICE_NAME and OTEL_RESOURCE_ATTRIBUTES win."""
    own = Resource({SERVICE_NAME: f"publish-worker-{role}", "process.pid": os.getpid()})
    return Resource.create().merge(own).merge(OTELResourceDetector().detect())


class _Failures(Handler):
    """Keeps the SDK's first message about an export; one about its queue can begin an outage.

    In an outage that has begun, a full queue is only its consequence.
    """

    def __init__(self, outage: Outage) -> None:
        super().__init__(logging.WARNING)
        self._outage = outage
        self.first: str | None = None

    def emit(self, record: LogRecord) -> None:
        text = record.getMessage()
        if not text.startswith("Queue full"):
            self.first = self.first or text
        elif not self._outage.has_begun:
            self._outage.note(SpansDropped("the queue is full (OTEL_BSP_MAX_QUEUE_SIZE)"))


class _WatchedExporter(SpanExporter):
    """An exporter whose failures are an outage."""

    def __init__(self, exporter: SpanExporter, outage: Outage, failures: _Failures) -> None:
        self._exporter = exporter
        self._outage = outage
        self._failures = failures

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        """Export spans; those that cannot be exported are dropped."""
        self._failures.first = None
        result, why = SpanExportResult.FAILURE, "the exporter failed"
        try:
            result = self._exporter.export(spans)
        except Exception as error:  # noqa: BLE001 - an exporter of any package; it is logged
            why = f"{type(error).__name__}: {error}"
        if result is SpanExportResult.SUCCESS:
            self._outage.end()
        else:
            self._outage.note(NotExported(self._failures.first or why))
        return result

    def shutdown(self) -> None:
        """Stop."""
        self._exporter.shutdown()

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        """Export what the exporter holds itself."""
        return self._exporter.force_flush(timeout_millis)
