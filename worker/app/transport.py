"""Kombu's Redis transport, in which an unreadable message is quarantined.

Without this, one list entry that is not valid JSON, or not a Kombu message, ends the worker.
"""

from typing import Any

import structlog
from kombu.transport import redis as kombu_redis

from db.errors import DATABASE_ERRORS
from worker.app import app
from worker.runtime.quarantine import quarantine

log: structlog.stdlib.BoundLogger = structlog.stdlib.get_logger(__name__)


class Channel(kombu_redis.Channel):
    """Kombu's Redis channel, where a list entry that is no JSON does not end the worker."""

    def _brpop_read(self, **options: Any) -> Any:
        try:
            return super()._brpop_read(**options)  # pyright: ignore[reportAttributeAccessIssue, reportUnknownVariableType]
        except ValueError as error:
            keep(
                getattr(error, "doc", None) or getattr(error, "object", ""),
                f"not valid JSON: {error}",
            )
            return None


class Transport(kombu_redis.Transport):
    """Kombu's Redis transport, where JSON that is no Kombu message does not end the worker."""

    Channel = Channel

    def _deliver(self, message: Any, queue: Any) -> None:
        try:
            _check_envelope(message)
        except (AttributeError, KeyError, TypeError):
            keep(repr(message), "not a Kombu message")
        else:
            super()._deliver(message, queue)


def _check_envelope(message: Any) -> None:
    """Touch what Kombu will; raises what Kombu would, which would end the worker."""
    properties = message["properties"]
    for part in (properties["delivery_info"], message["headers"]):
        dict.keys(part)
    str.encode(message["body"])
    str.encode(properties["delivery_tag"])


def keep(body: object, error: str) -> None:
    """Quarantine a message, or at least log it when the database is unreachable."""
    try:
        quarantine(app.runtime.engine, body, ValueError(error))
    except DATABASE_ERRORS as away:
        log.error("message.lost", body=repr(body)[:2000], error=error, database=str(away))  # noqa: TRY400
