"""Log lines by the standard library: the program that uses the client decides where they go.

A line is an event's name and its fields, `subscriber.failed group=search position=7`; a handler
finds the two in `record.event` and `record.fields`.
"""

import json
import logging
from typing import Any


class EventLog:
    """Writes events with fields to a logger; `name` is that of a module."""

    def __init__(self, name: str) -> None:
        self._logger = logging.getLogger(name)

    def info(self, event: str, **fields: Any) -> None:
        """Log what goes as it should."""
        self._write(logging.INFO, event, fields)

    def warning(self, event: str, **fields: Any) -> None:
        """Log what is dealt with; `exc_info` is an error whose traceback belongs to it."""
        self._write(logging.WARNING, event, fields)

    def error(self, event: str, **fields: Any) -> None:
        """Log what needs a person; `exc_info` as above."""
        self._write(logging.ERROR, event, fields)

    def _write(self, level: int, event: str, fields: dict[str, Any]) -> None:
        exc_info = fields.pop("exc_info", None)
        if self._logger.isEnabledFor(level):
            texts = (event, *(f"{name}={_quote(value)}" for name, value in fields.items()))
            extra = {"event": event, "fields": fields}
            self._logger.log(level, "%s", " ".join(texts), exc_info=exc_info, extra=extra)


def _quote(value: Any) -> str:
    """Return a value in one line; text with spaces or control characters in quotes."""
    text = str(value)
    is_plain = text.isprintable() and not set(text) & set(' "=') and text != ""
    return text if is_plain else json.dumps(text)
