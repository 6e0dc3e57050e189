"""Kombu's Redis transport with a quarantine for unreadable messages.

With Kombu's own, one list entry that is not valid JSON, or not a Kombu message, ends the worker.
"""

from typing import Any

import structlog
from kombu.transport import redis as kombu_redis
from redis.exceptions import RedisError

from db.errors import DATABASE_ERRORS
from worker.app import app
from worker.runtime.quarantine import quarantine

log: structlog.stdlib.BoundLogger = structlog.stdlib.get_logger(__name__)


class QoS(kombu_redis.QoS):
    """Kombu's prefetch window; an acknowledgement that Redis did not take leaves it, too.

    Kombu's own keeps it: a window that is full of them stops reading, so that the worker never
    notices the lost connection. Redis delivers the message again, which repeats a wake-up.
    """

    def ack(self, delivery_tag: Any) -> None:
        """Acknowledge a message. Raises RedisError."""
        try:
            super().ack(delivery_tag)
        except RedisError:
            self._quick_ack(delivery_tag)  # pyright: ignore[reportAttributeAccessIssue]
            raise


class Channel(kombu_redis.Channel):
    """Kombu's Redis channel; it quarantines a list entry that is not valid JSON."""

    QoS = QoS

    def _brpop_read(self, **options: Any) -> Any:
        try:
            return super()._brpop_read(**options)  # pyright: ignore[reportAttributeAccessIssue, reportUnknownVariableType]
        except ValueError as error:
            body = getattr(error, "doc", None) or getattr(error, "object", "")
            quarantine_message(body, f"not valid JSON: {error}")
            return None


class Transport(kombu_redis.Transport):
    """Kombu's Redis transport; it quarantines JSON that is not a Kombu message."""

    Channel = Channel

    def _deliver(self, message: Any, queue: Any) -> None:
        try:
            _check_envelope(message)
        except (AttributeError, KeyError, TypeError):
            quarantine_message(repr(message), "not a Kombu message")
        else:
            super()._deliver(message, queue)


def _check_envelope(message: Any) -> None:
    """Read the parts that Kombu reads; raises the errors that would end the worker there."""
    properties = message["properties"]
    for part in (properties["delivery_info"], message["headers"]):
        dict.keys(part)
    str.encode(message["body"])
    str.encode(properties["delivery_tag"])


def quarantine_message(body: object, error: str) -> None:
    """Quarantine a message, or at least log it when the database is unreachable."""
    try:
        quarantine(app.runtime.engine, body, ValueError(error))
    except DATABASE_ERRORS as failure:
        log.error("message.lost", body=repr(body)[:2000], error=error, database=str(failure))  # noqa: TRY400
