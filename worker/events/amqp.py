"""The AMQP outlet: events on a topic exchange, for those who live with RabbitMQ.

A durable topic exchange `video.events`; the routing key is the event's type, the message its
CloudEvents document, persistent, with the event's id as its own. Each batch is confirmed by the
broker before our position moves, so what a crash cuts off is sent again, with the same ids: at
least once, in order.
"""

import time
from contextlib import suppress
from typing import Any

import structlog
from kombu import Connection, Exchange, Producer
from kombu.exceptions import OperationalError
from sqlalchemy import Engine

from db.events import outbox, outlet
from db.events.outbox import RecordedEvent
from db.session import transaction
from worker.events.redis_stream import BATCH, OutletAway, OutletUnfit, cloud_event

EXCHANGE = Exchange("video.events", type="topic", durable=True)
CONTENT_TYPE = "application/cloudevents+json"
PERSISTENT = 2
CONNECT_SECONDS = 1.0
CONFIRM_SECONDS = 10.0
"""A broker that is short of memory takes nothing and says nothing."""
LEFT_ALONE_SECONDS = 5.0
"""A broker that is away is not asked with every batch: publishing does not wait for it."""

log: structlog.stdlib.BoundLogger = structlog.stdlib.get_logger(__name__)


class AmqpGap(OutletUnfit):
    """What follows the last event handed on to AMQP is no longer in the outbox: it was off for too
    long. `DELETE FROM publisher.outlet WHERE name = 'amqp'` lets it begin anew, with what comes
    from then on.
    """


class NotTaken(OutletAway):
    """The broker has refused messages; they are sent again."""


class AmqpOutlet:
    """Hands events on to one broker. One process at a time does; the others leave it to that one.

    `url` is Kombu's, such as `amqp://user:password@host:5672//`.
    """

    name = "amqp"

    def __init__(self, engine: Engine, url: str, base_url: str) -> None:
        self._engine = engine
        self._base_url = base_url
        self._url = url
        self._connection = self._connect()
        self._left_alone_until = 0.0

    def position(self) -> int:
        """The last position that was handed on."""
        with transaction(self._engine) as tx:
            return outlet.position(tx, self.name)

    def relay(self) -> int:
        """Hand on every event that has not been; return how many."""
        if time.monotonic() < self._left_alone_until:
            return 0
        with outlet.turn(self._engine, self.name) as ours:
            if not ours:
                return 0
            try:
                return self._hand_on()
            except _errors(self._connection) as error:
                self._left_alone_until = time.monotonic() + LEFT_ALONE_SECONDS
                self.close()
                raise OutletAway(str(error) or type(error).__name__) from error

    def close(self) -> None:
        """End the connection; the next relay makes another one."""
        with suppress(*_errors(self._connection)):
            self._connection.release()
        self._connection = self._connect()

    def _connect(self) -> Connection:
        """A connection, which Kombu makes when it is first used."""
        return Connection(
            self._url,
            connect_timeout=CONNECT_SECONDS,
            transport_options={"read_timeout": CONFIRM_SECONDS, "write_timeout": CONFIRM_SECONDS},
        )

    def _hand_on(self) -> int:
        position, count = self.position(), 0
        while True:
            with transaction(self._engine) as tx:
                events = outbox.after(tx, position, BATCH)
            if not events:
                return count
            if events[0].position != position + 1:
                raise AmqpGap(AmqpGap.__doc__)
            self._send_confirmed(events)
            with transaction(self._engine) as tx:
                reached = events[-1].position
                if not outlet.move(tx, self.name, position=position, to=reached):
                    return count  # somebody else took over: our turn was lost with a connection
            position, count = reached, count + len(events)

    def _send_confirmed(self, events: list[RecordedEvent]) -> None:
        """Send a batch, and return once the broker has all of it."""
        channel: Any = self._fresh_channel()
        unconfirmed = set(range(1, len(events) + 1))  # the broker counts them, too

        def taken(tag: int, multiple: bool) -> None:
            unconfirmed.difference_update(range(1, tag + 1) if multiple else (tag,))

        def refused(*_: object) -> None:
            raise NotTaken(NotTaken.__doc__)

        with channel:
            channel.events["basic_ack"].add(taken)
            channel.events["basic_nack"].add(refused)
            channel.confirm_select()
            exchange = EXCHANGE.bind(channel)
            exchange.declare()
            producer = Producer(channel, exchange, auto_declare=False)
            for event in events:
                producer.publish(
                    cloud_event(event, self._base_url).encode(),
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

    def _fresh_channel(self) -> Any:
        """A channel; a connection that has died since it was last used is made anew, once."""
        try:
            return self._connected().channel()
        except _errors(self._connection):
            self.close()
            return self._connected().channel()

    def _connected(self) -> Connection:
        if not self._connection.connected:  # or Kombu would do this, with pauses of seconds
            self._connection.ensure_connection(max_retries=1, interval_start=0)
        return self._connection


def _errors(connection: Connection) -> tuple[type[BaseException], ...]:
    return (
        OperationalError,
        OSError,
        *connection.connection_errors,
        *connection.channel_errors,
    )
