"""Traces are on only if OpenTelemetry's environment variables say so; off, they cost nothing."""

import os
import subprocess
import sys

import pytest

from publish_worker_client.trace_context import check_traceparent
from tests.support.traces import SAMPLED, UNSAMPLED, tracing_here
from worker.runtime.settings import SettingsError
from worker.runtime.tracing import find_exporters, get_tracer

OFF = """
import sys
import worker.api, worker.app.tasks, worker.cli, worker.subscribe
from worker.runtime.tracing import get_log_processors, get_tracer, start_tracing, stop_tracing
start_tracing("api")
assert get_tracer() is None and get_log_processors() == []
stop_tracing()
client = "publish_worker_client.spans"
wanted = ("opentelemetry.sdk.trace", "opentelemetry.exporter", client, "requests")
print([name for name in wanted if name in sys.modules])
"""


@pytest.mark.parametrize(
    ("environment", "exporters"),
    [
        ({}, []),
        ({"OTEL_SERVICE_NAME": "publisher"}, []),
        ({"OTEL_TRACES_EXPORTER": "none"}, []),
        ({"OTEL_TRACES_EXPORTER": ""}, []),
        ({"OTEL_TRACES_EXPORTER": "otlp"}, ["otlp_proto_http"]),
        ({"OTEL_TRACES_EXPORTER": "otlp, console"}, ["otlp_proto_http", "console"]),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://collector:4318"}, ["otlp_proto_http"]),
        ({"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://c/v1/traces"}, ["otlp_proto_http"]),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://c", "OTEL_TRACES_EXPORTER": "none"}, []),
        ({"OTEL_TRACES_EXPORTER": "otlp", "OTEL_SDK_DISABLED": "true"}, []),
        ({"OTEL_TRACES_EXPORTER": "otlp", "OTEL_SDK_DISABLED": "false"}, ["otlp_proto_http"]),
    ],
)
def test_traces_are_on_if_an_exporter_or_an_endpoint_is_named(
    environment: dict[str, str], exporters: list[str]
) -> None:
    assert find_exporters(environment) == exporters


@pytest.mark.parametrize(
    ("environment", "advice"),
    [
        ({"OTEL_TRACES_EXPORTER": "jaeger"}, "use otlp, console or none"),
        (
            {"OTEL_TRACES_EXPORTER": "otlp", "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"},
            "OTEL_EXPORTER_OTLP_PROTOCOL=grpc is not installed: use http/protobuf",
        ),
    ],
)
def test_an_exporter_that_is_not_installed_is_refused_with_what_to_do(
    environment: dict[str, str], advice: str
) -> None:
    with pytest.raises(SettingsError, match=advice):
        find_exporters(environment)


@pytest.mark.processes
def test_without_a_setting_nothing_that_makes_or_exports_spans_is_imported() -> None:
    """redis-py imports OpenTelemetry's API and its metrics by itself."""
    done = subprocess.run(
        [sys.executable, "-c", OFF],
        env={"PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.stdout, done.returncode) == ("[]\n", 0), done.stderr


def test_what_a_caller_did_not_sample_is_passed_on_as_it_was() -> None:
    with tracing_here() as exported:
        tracer = get_tracer()
        assert tracer
        span = tracer.start("quiet", UNSAMPLED)
        assert tracer.carry(span, UNSAMPLED) == UNSAMPLED
        tracer.end(span)
        span = tracer.start("loud", SAMPLED)
        assert tracer.carry(span, SAMPLED) != SAMPLED
        tracer.end(span)
        assert [each.name for each in exported.get_finished_spans()] == ["loud"]


def test_an_invalid_parent_begins_a_new_trace() -> None:
    with tracing_here() as exported:
        tracer = get_tracer()
        assert tracer
        tracer.end(tracer.start("root", "00-1"))
        [span] = exported.get_finished_spans()
        assert span.parent is None


def test_a_value_that_opentelemetry_refuses_is_one_line_that_says_what_to_do() -> None:
    code = (
        "from worker.runtime.errors_explained import one_clear_line\n"
        "from worker.runtime.tracing import check_tracing\n"
        "with one_clear_line(): check_tracing('worker')"
    )
    environment = {**os.environ, "OTEL_TRACES_EXPORTER": "otlp", "OTEL_BSP_SCHEDULE_DELAY": "0"}
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "OTEL_SDK_DISABLED=true" in done.stderr
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize("value", [None, 5, ["x"], "", "00-1", SAMPLED + "\n", f"ff{SAMPLED[2:]}"])
def test_what_is_not_a_traceparent_is_none(value: object) -> None:
    assert check_traceparent(value) is None
    assert check_traceparent(SAMPLED) == SAMPLED
