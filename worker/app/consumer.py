"""Celery's consumer with three changes: no gossip, short pauses, and no message that can end it.

A message that cannot be read is logged and quarantined (see also app/transport.py).
"""

from typing import Any

import structlog
from celery.worker.consumer import Consumer as CeleryConsumer
from celery.worker.state import maybe_shutdown

from worker.app.transport import quarantine_message

_SILENT = {"without_mingle": True, "without_gossip": True, "without_heartbeat": True}

log: structlog.stdlib.BoundLogger = structlog.stdlib.get_logger(__name__)


class Consumer(CeleryConsumer):
    """Celery's consumer, silent, and with a quarantine for unreadable messages."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        """Start without gossip, mingle and heartbeats, whatever the command line says."""
        super().__init__(*args, **{**kwargs, **_SILENT})

    def ensure_connected(self, conn: Any) -> Any:
        """Wait for the broker, in short pauses."""
        connect_quickly(conn, callback=maybe_shutdown)
        self.first_connection_attempt = False
        return conn

    def on_unknown_message(self, body: Any, message: Any) -> None:
        """Quarantine a message that is not a task message."""
        super().on_unknown_message(body, message)
        quarantine_message(message.body, "not a Celery message")

    def on_unknown_task(self, body: Any, message: Any, exc: Any) -> None:
        """Quarantine a message for a task that does not exist."""
        super().on_unknown_task(body, message, exc)
        quarantine_message([message.headers, message.body], f"unknown task {exc}")

    def on_invalid_task(self, body: Any, message: Any, exc: Any) -> None:
        """Quarantine a task message with parts missing."""
        super().on_invalid_task(body, message, exc)
        quarantine_message([message.headers, message.body], f"invalid task message: {exc}")

    def on_decode_error(self, message: Any, exc: Any) -> None:
        """Quarantine a message whose body does not match its content type."""
        super().on_decode_error(message, exc)
        quarantine_message([message.headers, message.body], f"undecodable body: {exc}")


def connect_quickly(connection: Any, **options: Any) -> Any:
    """Wait for the broker for ever, with one attempt a second or more.

    Celery's own pauses grow to half a minute.
    """
    return connection.ensure_connection(
        _log_unreachable, interval_start=0.2, interval_step=0.2, interval_max=1.0, **options
    )


def _log_unreachable(error: Exception, pause: float) -> None:
    log.warning("broker.unreachable", error=str(error), next_try=pause)
