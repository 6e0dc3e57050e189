"""A collector that is unreachable or hangs: no process waits for it, and the log has one line."""

import logging
import os
import socket
import sys
import time
from collections.abc import Generator
from pathlib import Path

import pytest
import structlog

from tests.support.forked import Forked
from tests.support.free_port import free_port
from tests.support.traces import collector
from tests.support.waiting import PATIENCE, wait_until
from worker.runtime.tracing import get_tracer, start_tracing, stop_tracing


@pytest.fixture(autouse=True)
def exporting(monkeypatch: pytest.MonkeyPatch) -> Generator[None]:
    """Export often."""
    monkeypatch.setenv("OTEL_TRACES_EXPORTER", "otlp")
    monkeypatch.setenv("OTEL_BSP_SCHEDULE_DELAY", "10")
    yield
    stop_tracing()


@pytest.fixture
def small_queue(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_BSP_MAX_QUEUE_SIZE", "8")
    monkeypatch.setenv("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", "4")


def make_spans(count: int) -> None:
    tracer = get_tracer()
    assert tracer
    for _ in range(count):
        tracer.end(tracer.start("work", None))


def lines(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [each.getMessage() for each in caplog.records if each.name.startswith("worker")]


def outages(caplog: pytest.LogCaptureFixture) -> list[str]:
    """The error of each line on an outage; none has a traceback."""
    logged = [each for each in caplog.records if each.getMessage() == "traces.not_exported"]
    assert not [each for each in logged if each.exc_info]
    return [str(vars(each)["error"]) for each in logged]


def test_an_outage_of_the_collector_is_one_line_and_its_end_another(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_TIMEOUT", "2")
    port = free_port()
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", f"http://127.0.0.1:{port}")
    caplog.set_level(logging.INFO)
    start_tracing("worker")
    for _ in range(3):
        make_spans(1)
        wait_until(lambda: "traces.not_exported" in lines(caplog), "the outage to be logged")
    [outage] = outages(caplog)
    assert "refused" in outage
    with collector(tmp_path / "traces.jsonl", port):
        wait_until(
            lambda: make_spans(1) is None and "traces.exported_again" in lines(caplog),
            "the end of the outage to be logged",
        )
        # A machine that pauses may let the collector be late, which is another cause.
        refused = [each for each in outages(caplog) if "refused" in each]
        assert (len(refused), len(set(outages(caplog)))) == (1, len(outages(caplog)))
    assert not [each for each in caplog.records if each.name.startswith("opentelemetry")]


@pytest.mark.usefixtures("small_queue")
def test_the_queue_that_an_outage_fills_has_not_a_line_of_its_own(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_TIMEOUT", "2")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", f"http://127.0.0.1:{free_port()}")
    start_tracing("worker")
    make_spans(1)
    wait_until(lambda: lines(caplog), "the outage to be logged")
    make_spans(100)
    assert lines(caplog) == ["traces.not_exported"]


def make_spans_and_end() -> None:
    """The program of the next test: it prints how long spans took, and its end."""
    structlog.configure(logger_factory=structlog.WriteLoggerFactory(sys.stderr))
    start_tracing("worker")
    began = time.monotonic()
    make_spans(1_000)
    made = time.monotonic()
    stop_tracing()
    print(f"took {made - began:.2f} {time.monotonic() - made:.2f}", flush=True)


@pytest.mark.usefixtures("small_queue")
def test_a_collector_that_hangs_delays_neither_spans_nor_the_end_of_the_process(
    tmp_path: Path,
) -> None:
    log = tmp_path / "program.log"
    with socket.create_server(("127.0.0.1", 0)) as hanging:
        url = f"http://127.0.0.1:{hanging.getsockname()[1]}"
        limit = {"OTEL_EXPORTER_OTLP_TIMEOUT": "600"}
        environment = {**os.environ, **limit, "OTEL_EXPORTER_OTLP_ENDPOINT": url}
        program = Forked(make_spans_and_end, ["program"], log=log, environment=environment)
        assert program.wait(2 * PATIENCE) == 0
    [made, ended] = map(float, log.read_text().partition("took ")[2].split())
    assert made < PATIENCE, "an export waits for ten minutes"
    assert ended < PATIENCE
    assert log.read_text().count("traces.not_exported") == 1  # the queue is full


def test_a_process_that_ends_exports_its_last_spans(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("OTEL_BSP_SCHEDULE_DELAY", "60000")
    with collector(tmp_path / "traces.jsonl") as collected:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", collected.url)
        start_tracing("api")
        make_spans(2)
        stop_tracing()
        assert [span.service for span in collected.spans] == ["publish-worker-api"] * 2


def test_the_operators_name_and_sampler_win(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    with collector(tmp_path / "traces.jsonl") as collected:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", collected.url)
        monkeypatch.setenv("OTEL_SERVICE_NAME", "videos")
        start_tracing("api")
        make_spans(1)
        stop_tracing()
        monkeypatch.setenv("OTEL_TRACES_SAMPLER", "parentbased_always_off")
        start_tracing("api")
        make_spans(1)
        stop_tracing()
        assert [span.service for span in collected.spans] == ["videos"]
