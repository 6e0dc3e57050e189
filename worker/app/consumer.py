"""Celery's consumer with three changes: no gossip, short pauses, and no message that can end it.

A message that cannot be read is logged and quarantined (see also app/transport.py).
"""

import time
import warnings
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from celery.exceptions import CPendingDeprecationWarning
from celery.worker.consumer import Consumer as CeleryConsumer
from celery.worker.state import maybe_shutdown
from kombu import Message

from worker.app.last_messages import accept_last
from worker.app.messages import InvalidMessage, rewrite_task
from worker.app.transport import Channel, quarantine_message
from worker.runtime.broker_errors import BROKER_ERRORS, BrokerOutage

_SILENT = {"without_mingle": True, "without_gossip": True, "without_heartbeat": True}

RESTART_SECONDS = 0.5
"""Between the loss of a connection that worked and the next one."""


class Consumer(CeleryConsumer):
    """Celery's consumer, silent, and with a quarantine for unreadable messages."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        """Start without gossip, mingle and heartbeats, whatever the command line says."""
        super().__init__(*args, **{**kwargs, **_SILENT})
        self._outage = BrokerOutage()

    def ensure_connected(self, conn: Any) -> Any:
        """Wait for the broker, in short pauses."""
        connect_quickly(conn, self._outage, callback=maybe_shutdown)
        self.first_connection_attempt = False
        return conn

    def on_connection_error_before_connected(self, exc: Exception) -> None:
        """Pause before the next attempt: a broker may accept connections and refuse the rest."""
        self._outage.note(exc)
        time.sleep(RESTART_SECONDS)

    def on_connection_error_after_connected(self, exc: Exception) -> None:
        """Close the connection, and pause before the next attempt."""
        with warnings.catch_warnings():  # that Celery 6 will end tasks here: ours end by themselves
            warnings.simplefilter("ignore", CPendingDeprecationWarning)
            super().on_connection_error_after_connected(exc)
        self.on_connection_error_before_connected(exc)

    def shutdown(self) -> None:
        """Close the connection; accept what Redis does not take back now, as it is still full."""
        super().shutdown()
        if not Channel.to_give_back:
            return
        with suppress(*BROKER_ERRORS), self.app.connection_for_read() as connection:
            channel: Any = connection.channel()
            channel.give_back()
        accept_last(Channel.to_give_back)

    def create_task_handler(self, *args: Any, **kwargs: Any) -> Callable[[Message], None]:
        """Return Celery's handler of a delivery; any failure of one is contained here."""
        handle = super().create_task_handler(*args, **kwargs)

        def handle_contained(message: Message) -> None:
            self._outage.end()
            try:
                rewrite_task(message)
                handle(message)
            except BROKER_ERRORS:
                raise
            except Exception as error:  # noqa: BLE001 - the last line of defence; it is quarantined
                self._refuse(message, error)

        return handle_contained

    def on_unknown_task(self, body: Any, message: Message, exc: Any) -> None:  # noqa: ARG002
        """Refuse a message for a task that does not exist."""
        self._refuse(message, InvalidMessage(f"The task {exc} is unknown."))

    def on_decode_error(self, message: Message, exc: Exception) -> None:
        """Refuse a message that Kombu refuses, such as a compressed one."""
        self._refuse(message, exc)

    def on_invalid_task(self, body: Any, message: Message, exc: Any) -> None:  # noqa: ARG002
        """Refuse a message that Celery refuses."""
        self._refuse(message, exc)

    def _refuse(self, message: Message, error: Exception) -> None:
        """Quarantine a message and acknowledge it. Raises the broker's errors."""
        quarantine_message([message.headers, message.body], f"not a task message: {error!r}")
        if not message.acknowledged:
            message.ack()


def connect_quickly(connection: Any, outage: BrokerOutage, **options: Any) -> Any:
    """Wait for the broker for ever, with one attempt a second or more, whatever it answers.

    Celery's own pauses grow to half a minute, and Kombu gives up if RabbitMQ refuses the login.
    """

    def note_error(error: Exception, _pause: float) -> None:
        outage.note(error)

    connection.recoverable_connection_errors = BROKER_ERRORS
    return connection.ensure_connection(
        note_error, interval_start=0.2, interval_step=0.2, interval_max=1.0, **options
    )
