"""The AMQP outlet: events on the durable topic exchange `video.events`.

The routing key is the event's type. The message is its CloudEvents document, persistent, with the
event's id as message id. The broker confirms each batch before the outlet's position moves, so a
batch that a crash interrupts is sent again with the same ids: at least once, in order.
"""

import time
from contextlib import suppress
from typing import Any

from kombu import Connection, Exchange, Producer
from kombu.exceptions import OperationalError
from sqlalchemy import Engine

from db.events import outlet
from db.events.outbox import Recorded
from db.session import transaction
from publish_worker_client.events.cloud_event import to_cloud_event
from publish_worker_client.events.outbox import RecordedEvent, read_after
from worker.events.outlet import BATCH, OutletOutOfSync, OutletUnreachable
from worker.events.spans import record_sent, start_clock
from worker.runtime.broker_url import read_amqp_url
from worker.runtime.outage import Outage

EXCHANGE = Exchange("video.events", type="topic", durable=True)
CONTENT_TYPE = "application/cloudevents+json"
SYSTEM = "rabbitmq"
"""The broker's name in spans."""
PERSISTENT = 2
CONNECT_SECONDS = 1.0
CONFIRM_SECONDS = 10.0
"""A broker that is short of memory accepts nothing and sends no error."""
QUICK = {"read_timeout": CONNECT_SECONDS, "write_timeout": CONNECT_SECONDS}
RETRY_SECONDS = 5.0
"""An unreachable broker is not tried with every batch: publishing must not wait for it."""


class AmqpGap(OutletOutOfSync):
    """The outbox no longer has the events that follow the last one relayed to AMQP: the outlet was
    off for too long. `DELETE FROM publisher.outlet WHERE name = 'amqp'` lets it begin with the next
    event.
    """


class AmqpOutlet:
    """Relays events to one broker. One process at a time does; calls of other processes return 0.

    `url` is Kombu's, such as `amqp://user:password@host:5672//`.
    """

    name = "amqp"

    def __init__(self, engine: Engine, url: str, base_url: str) -> None:
        self._engine = engine
        self._base_url = base_url
        self._url = url
        self._connection = self._connect()
        self._retry_at = 0.0
        self.outage = Outage("relay.unreachable", "relay.reachable", outlet=self.name)
        self._is_declared = False

    def position(self) -> int:
        """Return the last position that was relayed."""
        with transaction(self._engine) as tx:
            return outlet.read_position(tx, self.name)

    def relay(self, recorded: Recorded | None = None) -> int:  # noqa: ARG002 - it reads the outbox
        """Relay every event that has not been relayed yet; return their number."""
        if time.monotonic() < self._retry_at:
            return 0
        with outlet.try_lock(self._engine, self.name) as is_locked:
            if not is_locked:
                return 0
            try:
                count = self._relay_batches()
            except _errors(self._connection) as error:
                self._retry_at = time.monotonic() + RETRY_SECONDS
                self.close()
                raise OutletUnreachable(str(error) or type(error).__name__) from error
            self.outage.end()
            return count

    def close(self) -> None:
        """Close the connection; the next relay opens another one."""
        with suppress(*_errors(self._connection)):
            self._connection.release()
        self._connection = self._connect()
        self._is_declared = False

    def _connect(self) -> Connection:
        """Return a connection that opens on first use."""
        return read_amqp_url(self._url).connect(
            {"read_timeout": CONFIRM_SECONDS, "write_timeout": CONFIRM_SECONDS},
            connect_timeout=CONNECT_SECONDS,
        )

    def _declare_once(self) -> None:
        """Declare the exchange, so that queues can be bound before the first event."""
        if not self._is_declared:
            with self._open_channel() as channel:
                EXCHANGE.bind(channel).declare()
            self._is_declared = True

    def _relay_batches(self) -> int:
        self._declare_once()
        position, count = self.position(), 0
        while True:
            with transaction(self._engine) as tx:
                events = read_after(tx, position, BATCH)
            if not events:
                return count
            if events[0].position != position + 1:
                raise AmqpGap
            started = start_clock()
            self._send_confirmed(events)
            record_sent(events, SYSTEM, started)
            with transaction(self._engine) as tx:
                reached = events[-1].position
                if not outlet.move(tx, self.name, position=position, to=reached):
                    return count  # the lock was lost with a connection, and another process relays
            position, count = reached, count + len(events)

    def _send_confirmed(self, events: list[RecordedEvent]) -> None:
        """Send a batch; return once the broker has confirmed all of it."""
        channel: Any = self._open_channel()
        unconfirmed = set(range(1, len(events) + 1))  # the broker numbers messages the same way

        def confirm(tag: int, multiple: bool) -> None:
            unconfirmed.difference_update(range(1, tag + 1) if multiple else (tag,))

        def refuse(*_: object) -> None:
            raise OutletUnreachable("The broker refused messages; they are sent again.")

        with channel:
            channel.events["basic_ack"].add(confirm)
            channel.events["basic_nack"].add(refuse)
            channel.confirm_select()
            exchange = EXCHANGE.bind(channel)
            exchange.declare()
            producer = Producer(channel, exchange, auto_declare=False)
            for event in events:
                producer.publish(
                    to_cloud_event(event, self._base_url).encode(),
                    routing_key=event.type,
                    content_type=CONTENT_TYPE,
                    content_encoding="utf-8",
                    delivery_mode=PERSISTENT,
                    message_id=str(event.id),
                    timestamp=int(event.occurred_at.timestamp()),
                    headers={"sequence": event.position},
                )
            while unconfirmed:
                self._connection.drain_events(timeout=CONFIRM_SECONDS)

    def _open_channel(self) -> Any:
        """Return a channel; if the connection has died since its last use, open one more."""
        try:
            return self._connected().channel()
        except _errors(self._connection):
            self.close()
            return self._connected().channel()

    def _connected(self) -> Connection:
        if not self._connection.connected:  # or Kombu would do this, with pauses of seconds
            self._connection.ensure_connection(max_retries=1, interval_start=0)
        return self._connection


def check_amqp(url: str) -> None:
    """Raise OutletUnreachable, with one line, unless the broker lets us declare the exchange."""
    connection = read_amqp_url(url).connect(QUICK, connect_timeout=CONNECT_SECONDS)
    try:
        with connection:
            connection.ensure_connection(max_retries=1, interval_start=0)
            with connection.channel() as channel:
                EXCHANGE.bind(channel).declare()
    except _errors(connection) as error:
        answer = " ".join(str(error).split()).rstrip(".") or type(error).__name__
        raise OutletUnreachable(
            f"The broker cannot be used: {answer}. Check AMQP_URL; events wait in the outbox."
        ) from error


def _errors(connection: Connection) -> tuple[type[BaseException], ...]:
    return (
        OperationalError,
        OSError,
        *connection.connection_errors,
        *connection.channel_errors,
    )
