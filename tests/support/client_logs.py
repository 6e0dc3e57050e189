"""What publish_worker_client logs, in the form of structlog's `capture_logs`."""

import logging
from collections.abc import Generator
from contextlib import contextmanager
from typing import Any


class _Recorder(logging.Handler):
    def __init__(self, lines: list[dict[str, Any]]) -> None:
        super().__init__()
        self._lines = lines

    def emit(self, record: logging.LogRecord) -> None:
        known = {"event": getattr(record, "event", ""), "log_level": record.levelname.lower()}
        error = {"exc_info": record.exc_info[1]} if record.exc_info else {}
        self._lines.append({**known, **getattr(record, "fields", {}), **error})


@contextmanager
def capture_client_logs() -> Generator[list[dict[str, Any]]]:
    """Yield the list that lines are added to while the block runs."""
    lines: list[dict[str, Any]] = []
    logger, recorder = logging.getLogger("publish_worker_client"), _Recorder(lines)
    before = logger.level
    logger.addHandler(recorder)
    logger.setLevel(logging.INFO)
    try:
        yield lines
    finally:
        logger.removeHandler(recorder)
        logger.setLevel(before)
