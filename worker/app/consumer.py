"""Celery's consumer, ours in three points: no chatter, no long pauses, no message can end it.

A message that makes no sense is logged, counted and quarantined (see app/transport.py).
"""

from typing import Any

import structlog
from celery.worker.consumer import Consumer as CeleryConsumer
from celery.worker.state import maybe_shutdown

from worker.app.transport import keep

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
