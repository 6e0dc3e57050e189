"""Logs as data: structlog for our lines, and for everybody else's through the same door."""

import logging
import sys
from io import StringIO
from textwrap import indent
from typing import TextIO

import structlog
from structlog.typing import EventDict, ExcInfo, Processor, WrappedLogger

from worker.runtime.printing import to_printable, to_printable_lines
from worker.runtime.redaction import redact_line
from worker.runtime.settings import LogFormat
from worker.runtime.tracing import get_log_processors

MARGIN = "    "
"""Before each line of a traceback: a text in it cannot imitate a line of the log."""


def configure(log_format: LogFormat, level: str = "INFO") -> None:
    """Send every log line of this process, Celery's and uvicorn's included, through structlog.

    Ours go straight to stderr: a line for each command is a good part of what a publish costs.
    Secrets in a line are replaced, whichever logger writes it.
    """
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        *get_log_processors(),
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    structlog.configure(
        processors=[*shared, *_renderers(log_format)],
        logger_factory=structlog.WriteLoggerFactory(sys.stderr),
        wrapper_class=structlog.make_filtering_bound_logger(level),
        cache_logger_on_first_use=True,
    )
    formatter = structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=[
            structlog.stdlib.PositionalArgumentsFormatter(),
            _take_fields,
            structlog.stdlib.add_logger_name,
            *shared,
        ],
        processors=[
            structlog.stdlib.ProcessorFormatter.remove_processors_meta,
            *_renderers(log_format),
        ],
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(formatter)
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(level.upper())
    for name in ("uvicorn", "uvicorn.error", "uvicorn.access", "celery", "celery.task"):
        theirs = logging.getLogger(name)
        theirs.handlers = []
        theirs.propagate = True
    for name in ("celery.worker.strategy", "celery.app.trace", "celery.beat", "alembic"):
        logging.getLogger(name).setLevel(logging.WARNING)  # every sweep would be a line
    logging.getLogger("uvicorn.access").disabled = True  # the API logs its requests itself


def _renderers(log_format: LogFormat) -> list[Processor]:
    if log_format is LogFormat.JSON:
        json = structlog.processors.JSONRenderer()
        return [structlog.processors.format_exc_info, json, redact_line]
    renderer = structlog.dev.ConsoleRenderer(
        colors=sys.stderr.isatty(), exception_formatter=_write_traceback
    )
    return [_make_printable, renderer, redact_line]


def _take_fields(_: WrappedLogger, __: str, event: EventDict) -> EventDict:
    """Take the fields of a line of publish_worker_client apart again."""
    record: logging.LogRecord = event["_record"]
    fields = getattr(record, "fields", None)
    if not record.name.startswith("publish_worker_client.") or not isinstance(fields, dict):
        return event
    return {**event, "event": getattr(record, "event", event["event"]), **fields}


def _make_printable(_: WrappedLogger, __: str, event: EventDict) -> EventDict:
    """Let no value steer the terminal, and no line of a message begin like a line of the log."""
    message = to_printable_lines(str(event.pop("event", ""))).replace("\n", f"\n{MARGIN}")
    exc_info = event.pop("exc_info", None)
    values = {key: _to_printable_value(value) for key, value in event.items()}
    return {**values, "event": message, "exc_info": exc_info}


def _to_printable_value(value: object) -> object:
    if isinstance(value, int | float | None):
        return value
    return to_printable(value if isinstance(value, str) else repr(value))


def _write_traceback(output: TextIO, exc_info: ExcInfo) -> None:
    """Write it without the local variables, which contain secrets."""
    text = StringIO()
    structlog.dev.plain_traceback(text, exc_info)
    output.write(indent(to_printable_lines(text.getvalue()), MARGIN))
