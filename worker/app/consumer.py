"""Celery's consumer, ours in three points: no chatter, no long pauses, no message can end it.

A message that makes no sense is logged, counted and set aside (`publisher.set_aside_message`),
whether Celery finds it so or Kombu, which on Redis would otherwise let the worker die of it.
"""

from typing import Any

import structlog
from celery.worker.consumer import Consumer as CeleryConsumer
from celery.worker.state import maybe_shutdown
from kombu.transport import redis as kombu_redis

from db.errors import DATABASE_ERRORS
from worker.app import process
from worker.enqueue.accept import set_aside

_SILENT = {"without_mingle": True, "without_gossip": True, "without_heartbeat": True}

log: structlog.stdlib.BoundLogger = structlog.stdlib.get_logger(__name__)


class Consumer(CeleryConsumer):
    """Celery's consumer without gossip, mingle and heartbeats to others; sets nonsense aside."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        """Start as Celery's does, with the chatter off whatever the command line says."""
        super().__init__(*args, **{**kwargs, **_SILENT})

    def ensure_connected(self, conn: Any) -> Any:
        """Wait for the broker, in short pauses."""
        connect_soon(conn, callback=maybe_shutdown)
        self.first_connection_attempt = False
        return conn

    def on_unknown_message(self, body: Any, message: Any) -> None:
        """Not a task message at all."""
        super().on_unknown_message(body, message)
        keep(message.body, "not a Celery message")

    def on_unknown_task(self, body: Any, message: Any, exc: Any) -> None:
        """A task that we do not have."""
        super().on_unknown_task(body, message, exc)
        keep([message.headers, message.body], f"unknown task {exc}")

    def on_invalid_task(self, body: Any, message: Any, exc: Any) -> None:
        """A task message with parts missing."""
        super().on_invalid_task(body, message, exc)
        keep([message.headers, message.body], f"invalid task message: {exc}")

    def on_decode_error(self, message: Any, exc: Any) -> None:
        """A body that is not what its content type says."""
        super().on_decode_error(message, exc)
        keep([message.headers, message.body], f"undecodable body: {exc}")


def connect_soon(connection: Any, **options: Any) -> Any:
    """Wait for the broker for ever, asking at least once a second.

    Celery's pauses grow to half a minute; nothing here may wait that long for a Redis that is back.
    """
    return connection.ensure_connection(
        _tell_away, interval_start=0.2, interval_step=0.2, interval_max=1.0, **options
    )


def _tell_away(error: Exception, pause: float) -> None:
    log.warning("broker.away", error=str(error), next_try=pause)


class Channel(kombu_redis.Channel):
    """Kombu's Redis channel, where a list entry that is no JSON does not end the worker."""

    def _brpop_read(self, **options: Any) -> Any:
        try:
            return super()._brpop_read(**options)  # pyright: ignore[reportAttributeAccessIssue, reportUnknownVariableType]
        except ValueError as error:
            keep(getattr(error, "doc", None) or getattr(error, "object", ""), f"no JSON: {error}")
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
    """Set a message aside, or at least log it where the database is away."""
    try:
        set_aside(process().engine, body, ValueError(error))
    except DATABASE_ERRORS as away:
        log.error("message.lost", body=repr(body)[:2000], error=error, database=str(away))  # noqa: TRY400
