"""Traces of this process: on if OpenTelemetry's own environment variables say so; off by default.

While they are off, nothing of OpenTelemetry is imported here, and `get_tracer` returns None. Each
process that makes spans calls `start_tracing`, after it was forked, and `stop_tracing` at its end.
"""

import os
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib.metadata import entry_points
from typing import TYPE_CHECKING

from structlog.typing import EventDict, Processor, WrappedLogger

from worker.runtime.settings import SettingsError

if TYPE_CHECKING:
    from publish_worker_client.spans import Tracer

# Attributes of spans. Titles, addresses, keys and URLs are in none.
COMMAND_ID = "publish_worker.command.id"
VIDEO_ID = "publish_worker.video.id"
WORKSPACE_ID = "publish_worker.workspace.id"
OUTCOME = "publish_worker.outcome"
ATTEMPTS = "publish_worker.attempts"
ERROR_TYPE = "error.type"

FLUSH_SECONDS = 2.0
"""How long the end of a process waits for its last spans to be exported."""
EXPORTERS = "opentelemetry_traces_exporter"
"""The entry points that OpenTelemetry's packages register their exporters as."""
ENDPOINTS = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")
PROTOCOLS = ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL")
_OTLP = {"http/protobuf": "otlp_proto_http", "grpc": "otlp_proto_grpc"}


@dataclass
class _Process:
    """The tracer of this process, and what exports its last spans."""

    tracer: "Tracer | None" = None
    shut_down: Callable[[], object] | None = None


_process = _Process()


def get_tracer() -> "Tracer | None":
    """Return the tracer of this process; None: traces are off."""
    return _process.tracer


def find_exporters(environment: Mapping[str, str] = os.environ) -> list[str]:
    """Return the names of the exporters that the environment asks for; none: traces are off.

    `OTEL_TRACES_EXPORTER` names them; without it, an OTLP endpoint is enough. Raises SettingsError
    for one that is not installed.
    """
    if environment.get("OTEL_SDK_DISABLED", "").strip().lower() == "true":
        return []
    asked = environment.get("OTEL_TRACES_EXPORTER", "").strip()
    if not asked and any(environment.get(name) for name in ENDPOINTS):
        asked = "otlp"
    names = [name.strip() for name in asked.split(",") if name.strip()]
    return [_check_exporter(name, environment) for name in names if name != "none"]


def _check_exporter(name: str, environment: Mapping[str, str]) -> str:
    given = (environment.get(each) for each in PROTOCOLS)
    protocol = next(filter(None, given), "http/protobuf").strip()
    wanted = _OTLP.get(protocol, "") if name == "otlp" else name
    if wanted and entry_points(group=EXPORTERS, name=wanted):
        return wanted
    if name == "otlp":
        raise SettingsError(
            f"OTEL_EXPORTER_OTLP_PROTOCOL={protocol} is not installed: use http/protobuf, for which"
            " collectors listen on port 4318, and install publish-worker[tracing]."
        )
    raise SettingsError(
        f"OTEL_TRACES_EXPORTER={name} is not installed: use otlp, console or none, and"
        " install publish-worker[tracing]."
    )


def start_tracing(role: str) -> None:
    """Make spans in this process from now on, if the environment says so.

    `role` is `api` or `worker`: the default of the service's name ends with it. Raises
    SettingsError.
    """
    exporters = find_exporters()
    if not exporters:
        return
    from worker.runtime.trace_export import open_provider  # noqa: PLC0415 - only if they are on

    try:
        provider = open_provider(exporters, role)
    except (ValueError, OSError) as error:  # a limit, an interval or a file
        raise SettingsError(
            f"OpenTelemetry's settings (OTEL_…) are not valid: {error} Correct them, or switch "
            "traces off with OTEL_SDK_DISABLED=true."
        ) from None
    set_tracer(*provider)


def check_tracing(role: str) -> None:
    """Raise SettingsError if `start_tracing` would: for a process whose pool makes the spans."""
    start_tracing(role)
    stop_tracing()


def set_tracer(tracer: "Tracer | None", shut_down: Callable[[], object] | None = None) -> None:
    """Make spans with a tracer from now on; `shut_down` exports the last ones. None: make none."""
    _process.tracer, _process.shut_down = tracer, shut_down


def stop_tracing() -> None:
    """Export the last spans, for two seconds at most, and make no more."""
    shut_down = _process.shut_down
    set_tracer(None)
    if shut_down is not None:
        last = threading.Thread(target=shut_down, name="traces-end", daemon=True)
        last.start()
        last.join(FLUSH_SECONDS)


def get_log_processors() -> list[Processor]:
    """Return what adds the ids of the current span to log lines; nothing if traces are off."""
    return [_add_span_ids] if find_exporters() else []


def _add_span_ids(_: WrappedLogger, __: str, event: EventDict) -> EventDict:
    tracer = get_tracer()
    return event if tracer is None else {**event, **tracer.get_current_ids()}
