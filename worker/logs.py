"""Logs as data: structlog for our lines, and for everybody else's through the same door."""

import logging
import sys

import structlog
from structlog.typing import Processor

from worker.settings import LogFormat


def configure(log_format: LogFormat, level: str = "INFO") -> None:
    """Send every log line of this process, Celery's and uvicorn's included, through structlog."""
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.StackInfoRenderer(),
    ]
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            *shared,
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[structlog.stdlib.PositionalArgumentsFormatter(), *shared],
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                *_renderers(log_format),
            ],
        )
    )
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(level.upper())
    for name in ("uvicorn", "uvicorn.error", "uvicorn.access", "celery", "celery.task"):
        theirs = logging.getLogger(name)
        theirs.handlers = []
        theirs.propagate = True
    for name in ("celery.worker.strategy", "celery.app.trace", "celery.beat", "alembic"):
        logging.getLogger(name).setLevel(logging.WARNING)  # two sweeps a second are no news
    logging.getLogger("uvicorn.access").disabled = True  # the API logs its requests itself


def _renderers(log_format: LogFormat) -> list[Processor]:
    if log_format is LogFormat.JSON:
        return [structlog.processors.format_exc_info, structlog.processors.JSONRenderer()]
    plain = structlog.dev.plain_traceback  # the pretty one shows local variables: secrets too
    return [structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty(), exception_formatter=plain)]
