"""Kombu's Redis transport with a quarantine for unreadable messages.

With Kombu's own, one list entry that is not valid JSON, or not a Kombu message, ends the worker.
"""

from functools import partial
from typing import Any

import structlog
from kombu.transport import redis as kombu_redis
from kombu.utils.encoding import bytes_to_str
from redis.exceptions import RedisError

from db.errors import DATABASE_ERRORS
from worker.app import app
from worker.app.messages import rewrite_envelope
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


class Client(kombu_redis.PrefixedStrictRedis):
    """A client whose BRPOP answers with envelopes that Kombu can read, and quarantines others."""

    def parse_response(self, connection: Any, command_name: str, **options: Any) -> Any:
        """Read an answer; an entry that is not a message reads as no answer."""
        answer = super().parse_response(connection, command_name, **options)
        if command_name != "BRPOP" or not answer:
            return answer
        key, item = answer
        queue, _, _ = bytes_to_str(key).partition(kombu_redis.Channel.sep)
        try:
            return key, rewrite_envelope(item, queue)
        except Exception as error:  # noqa: BLE001 - the last line of defence; it is quarantined
            quarantine_message(item, f"not a Kombu message: {error!r}")
            return None


class Channel(kombu_redis.Channel):
    """Kombu's Redis channel on our client."""

    QoS = QoS

    def _get_client(self) -> Any:
        return partial(Client, global_keyprefix=self.global_keyprefix)


class Transport(kombu_redis.Transport):
    """Kombu's Redis transport on our channel."""

    Channel = Channel


def quarantine_message(body: object, error: str) -> None:
    """Quarantine a message, or at least log it when the database is unreachable."""
    try:
        quarantine(app.runtime.engine, body, ValueError(error))
    except DATABASE_ERRORS as failure:
        log.error("message.lost", body=repr(body)[:2000], error=error, database=str(failure))  # noqa: TRY400
