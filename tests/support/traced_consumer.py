"""A consumer as a program of its own, which has configured OpenTelemetry itself.

Arguments: Redis, group. It prints the event's id and the current trace for each event.
"""

import signal
import sys

from opentelemetry import trace
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor

from worker.subscribe import Delivery, Subscriber


def handle(delivery: Delivery) -> None:
    context = trace.get_current_span().get_span_context()
    print(delivery.event.id, f"{context.trace_id:032x}", flush=True)


def main() -> None:
    redis_url, group = sys.argv[1:]
    provider = TracerProvider()
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    trace.set_tracer_provider(provider)
    subscriber = Subscriber(redis_url, group=group)

    def stop(_number: int, _frame: object) -> None:
        subscriber.stop()

    signal.signal(signal.SIGTERM, stop)
    with subscriber:
        subscriber.run(handle)
    provider.shutdown()
