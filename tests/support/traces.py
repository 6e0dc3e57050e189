"""Spans of a test: collected in this process, or from real processes by OTLP over HTTP."""

import json
import threading
from base64 import b64decode
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from google.protobuf.json_format import MessageToDict
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from publish_worker_client.spans import SCOPE, Tracer
from worker.runtime import tracing

TRACE_ID = "4bf92f3577b34da6a3ce929d0e0e4736"
CALLER = "00f067aa0ba902b7"
"""The id of the span that calls."""
SAMPLED = f"00-{TRACE_ID}-{CALLER}-01"
UNSAMPLED = f"00-{TRACE_ID}-{CALLER}-00"


@contextmanager
def tracing_here() -> Generator[InMemorySpanExporter]:
    """Let this process make spans, by the default sampler, while the block runs."""
    exporter = InMemorySpanExporter()
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    tracing.set_tracer(Tracer(provider.get_tracer(SCOPE)), provider.shutdown)
    try:
        yield exporter
    finally:
        tracing.stop_tracing()


def named(exporter: InMemorySpanExporter, name: str) -> list[ReadableSpan]:
    """The spans of a name, in the order of their ends."""
    return [span for span in exporter.get_finished_spans() if span.name == name]


def span_id(span: ReadableSpan) -> str:
    assert span.context
    return f"{span.context.span_id:016x}"


def trace_id(span: ReadableSpan) -> str:
    assert span.context
    return f"{span.context.trace_id:032x}"


def parent_id(span: ReadableSpan) -> str | None:
    return f"{span.parent.span_id:016x}" if span.parent else None


@dataclass(frozen=True, kw_only=True)
class ExportedSpan:
    """A span as a collector gets it."""

    service: str
    name: str
    kind: str
    trace_id: str
    id: str
    parent: str
    """Empty: it is a root."""
    links: frozenset[str]
    """The ids of the linked spans."""
    attributes: dict[str, Any]
    start: int
    end: int


@dataclass
class Collector:
    """What was exported. Each request is also a line of a file: the format of OTLP files."""

    file: Path
    url: str = ""
    lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def spans(self) -> list[ExportedSpan]:
        """All spans in the file."""
        if not self.file.exists():
            return []
        with self.lock:
            lines = self.file.read_text().splitlines()
        return [span for line in lines for span in _read_request(json.loads(line))]

    def named(self, name: str) -> list[ExportedSpan]:
        """The spans of a name."""
        return [span for span in self.spans if span.name == name]

    def add(self, body: bytes) -> None:
        """Parse a request and append it to the file."""
        request = ExportTraceServiceRequest()
        request.ParseFromString(body)
        with self.lock, self.file.open("a") as file:
            file.write(json.dumps(MessageToDict(request)) + "\n")


def _read_request(request: dict[str, Any]) -> Generator[ExportedSpan]:
    for resource in request["resourceSpans"]:
        service = _to_dict(resource["resource"]["attributes"])["service.name"]
        for scope in resource["scopeSpans"]:
            yield from (_read_span(service, span) for span in scope["spans"])


def _read_span(service: str, span: dict[str, Any]) -> ExportedSpan:
    return ExportedSpan(
        service=service,
        name=span["name"],
        kind=span["kind"].removeprefix("SPAN_KIND_").lower(),
        trace_id=_to_hex(span["traceId"]),
        id=_to_hex(span["spanId"]),
        parent=_to_hex(span.get("parentSpanId", "")),
        links=frozenset(_to_hex(link["spanId"]) for link in span.get("links", ())),
        attributes=_to_dict(span.get("attributes", ())),
        start=int(span["startTimeUnixNano"]),
        end=int(span["endTimeUnixNano"]),
    )


def _to_hex(encoded: str) -> str:
    """Protobuf's JSON has bytes in base64."""
    return b64decode(encoded).hex()


def _to_dict(attributes: Any) -> dict[str, Any]:
    return {each["key"]: next(iter(each["value"].values())) for each in attributes}


@contextmanager
def collector(file: Path, port: int = 0) -> Generator[Collector]:
    """Receive OTLP over HTTP, as protobuf, while the block runs."""
    made = Collector(file)

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            made.add(self.rfile.read(int(self.headers["content-length"])))
            self.send_response(200)
            self.send_header("content-length", "0")
            self.end_headers()

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - its name
            pass

    with ThreadingHTTPServer(("127.0.0.1", port), Handler) as server:
        made.url = f"http://127.0.0.1:{server.server_port}"
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        try:
            yield made
        finally:
            server.shutdown()
            thread.join()
