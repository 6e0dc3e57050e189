"""Kombu's Redis transport: no message can end it, none is lost while Redis is full.

With Kombu's own, one list entry that is not valid JSON, or not a Kombu message, ends the worker.
"""

from collections import deque
from collections.abc import Sequence
from functools import partial
from threading import RLock
from typing import Any, ClassVar

import structlog
from kombu.transport import redis as kombu_redis
from kombu.transport import virtual
from kombu.utils.encoding import bytes_to_str
from redis.exceptions import RedisError

from db.errors import DATABASE_ERRORS
from worker.app import app
from worker.app.messages import is_stale, is_wake_up, rewrite_envelope
from worker.runtime.quarantine import quarantine

SLICE = 1_000
"""Messages that are looked at in one step."""
NEWEST = 100
"""Messages of a queue among which a sweep is looked for."""

log: structlog.stdlib.BoundLogger = structlog.stdlib.get_logger(__name__)


class QoS(kombu_redis.QoS):
    """Kombu's prefetch window, which also has the messages that Redis could not take note of.

    Redis hands a message over before Kombu notes it as unacknowledged. Where the note is refused
    (out of memory, a failover), only this process has the message, so it is carried out all the
    same, and goes back to the queue if the connection is lost before. A wake-up is never noted:
    the sweep replaces one that is lost, and a note costs two round trips.
    """

    rejected: ClassVar[deque[str]] = deque()
    """Messages of this process that Redis could not take back yet."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._not_noted: dict[str, dict[str, Any]] = {}
        self._quick_ack = self._leave  # for Kombu's own methods

    def append(self, message: Any, delivery_tag: Any) -> None:
        """Note a message as unacknowledged."""
        if _is_not_noted(message):
            virtual.QoS.append(self, message, delivery_tag)
            return
        try:
            super().append(message, delivery_tag)
        except RedisError as error:
            log.warning("message.not_noted", error=str(error), consequence="it is carried out")
            virtual.QoS.append(self, message, delivery_tag)
            self._not_noted[delivery_tag] = message._raw  # noqa: SLF001 - as Redis would get it

    def _leave(self, delivery_tag: str) -> None:
        """Take a message out of the window. Also called by pool threads."""
        self._not_noted.pop(delivery_tag, None)
        dirty: Any = self._dirty
        dirty.add(delivery_tag)

    def restore_visible(self, *args: Any, **options: Any) -> None:
        """Give back rejected messages, then those of workers that are gone. Raises RedisError.

        Kombu calls it every ten seconds.
        """
        self._restore_rejected()
        super().restore_visible(*args, **options)

    def restore_unacked(self, client: Any = None) -> None:
        """Give back what is not acknowledged as the connection ends. Raises RedisError."""
        Channel.to_give_back.extend(self._not_noted.values())
        self._not_noted.clear()
        self._restore_rejected()
        super().restore_unacked(client)

    def restore_by_tag(self, tag: Any, client: Any = None, leftmost: bool = False) -> None:
        """Give a message back to its queue; one that cannot be read is quarantined instead.

        Raises RedisError.
        """
        try:
            super().restore_by_tag(tag, client, leftmost)
        except RedisError:
            raise
        except Exception as error:  # noqa: BLE001 - it would end each worker as it starts
            channel: Any = self.channel
            with channel.conn_or_acquire(client) as redis:
                item = redis.hget(self.unacked_key, tag)
                quarantine_message(item, f"not an unacknowledged message: {error!r}")
                redis.zrem(self.unacked_index_key, tag)
                redis.hdel(self.unacked_key, tag)

    def ack(self, delivery_tag: Any) -> None:
        """Acknowledge a message. Raises RedisError.

        A message whose acknowledgement is refused leaves the window, too: a window that is full of
        them stops reading, so that the worker never notices the lost connection. Redis delivers
        the message again.
        """
        delivered: Any = self._delivered
        if _is_not_noted(delivered.get(delivery_tag)):
            self._leave(delivery_tag)
            return
        try:
            super().ack(delivery_tag)
        except RedisError:
            self._leave(delivery_tag)
            raise

    def reject(self, delivery_tag: Any, requeue: bool = False) -> None:
        """Give a message back to its queue, or discard it. Raises RedisError if it is discarded.

        The message leaves the window in any case, as in `ack`. One that Redis does not take back
        now, it gets within ten seconds after it answers again. Those after it do not try: each
        would wait for the time-out.
        """
        if not requeue:
            self.ack(delivery_tag)
            return
        is_first = not self.rejected and not Channel.to_give_back
        if delivery_tag in self._not_noted:
            Channel.to_give_back.append(self._not_noted.pop(delivery_tag))
        else:
            self.rejected.append(delivery_tag)
        self._leave(delivery_tag)
        if is_first:
            try:
                self._restore_rejected()
            except RedisError as error:  # of a full Redis, it would end Celery's reject of a batch
                log.warning("message.not_taken_back", error=str(error), consequence="tried again")

    def _restore_rejected(self) -> None:
        channel: Any = self.channel
        with Channel.giving_back:
            while self.rejected:
                self.restore_by_tag(self.rejected[0], leftmost=True)
                self.rejected.popleft()
            channel.give_back()

    def ack_all(self, delivery_tags: Sequence[str]) -> None:
        """Acknowledge messages, at least one, in one round trip. As `ack` in all else."""
        try:
            with self.pipe_or_acquire() as pipe:
                pipe.zrem(self.unacked_index_key, *delivery_tags)
                pipe.hdel(self.unacked_key, *delivery_tags)
                pipe.execute()
        finally:
            for tag in delivery_tags:
                self._leave(tag)


class Client(kombu_redis.PrefixedStrictRedis):
    """A client whose BRPOP answers with envelopes that Kombu can read.

    Others are quarantined, and stale wake-ups discarded.
    """

    def parse_response(self, connection: Any, command_name: str, **options: Any) -> Any:
        """Read an answer; an entry that Kombu is not to have reads as no answer."""
        answer = super().parse_response(connection, command_name, **options)
        if command_name != "BRPOP" or not answer:
            return answer
        key, item = answer
        if is_stale(item):
            self._discard_stale(key)
            return None
        queue, _, _ = bytes_to_str(key).partition(kombu_redis.Channel.sep)
        try:
            return key, rewrite_envelope(item, queue)
        except Exception as error:  # noqa: BLE001 - the last line of defence; it is quarantined
            quarantine_message(item, f"not a Kombu message: {error!r}")
            return None

    def _discard_stale(self, key: bytes) -> None:
        """Remove the stale wake-ups among the oldest messages of a queue, many in one step."""
        name, kept, discarded = self.global_keyprefix.encode() + key, 0, 1
        while True:
            items: Any = self.lrange(name, -kept - SLICE, -kept - 1)
            stale = [item for item in items if is_stale(item)]
            if not stale:
                break
            with self.pipeline(transaction=False) as pipeline:
                for item in reversed(stale):
                    pipeline.lrem(name, -1, item)
                pipeline.execute()
            kept += len(items) - len(stale)
            discarded += len(stale)
        log.info("wake_ups.discarded", queue=bytes_to_str(key), count=discarded)


class Channel(kombu_redis.Channel):
    """Kombu's Redis channel on our client."""

    QoS = QoS
    to_give_back: ClassVar[deque[dict[str, Any]]] = deque()
    """Messages that this process alone has, and has not carried out."""
    giving_back: ClassVar[RLock] = RLock()
    """Held while messages are given back: two threads would both remove what one put."""

    def _get_client(self) -> Any:
        return partial(Client, global_keyprefix=self.global_keyprefix)

    def basic_consume(self, queue: str, *args: Any, **kwargs: Any) -> Any:
        """Consume from a queue, once it has the messages back that only this process has."""
        self.give_back()
        return super().basic_consume(queue, *args, **kwargs)

    def give_back(self) -> None:
        """Put the messages that only this process has into their queues. Raises RedisError."""
        with self.giving_back:
            while self.to_give_back:
                message = self.to_give_back[0]
                self._put(message["properties"]["delivery_info"]["routing_key"], message)
                self.to_give_back.popleft()

    def has_waiting(self, queue: str, task: str) -> bool:
        """Whether a message for this task is among the newest of a queue. Raises RedisError."""
        with self.conn_or_acquire() as client:
            newest: Any = client.lrange(f"{self.global_keyprefix}{queue}", 0, NEWEST - 1)
        return any(f'"task": "{task}"'.encode() in item for item in newest)


class Transport(kombu_redis.Transport):
    """Kombu's Redis transport on our channel."""

    Channel = Channel


class SentinelChannel(Channel, kombu_redis.SentinelChannel):
    """The same over sentinels."""


class SentinelTransport(Transport):
    """The same over sentinels."""

    Channel = SentinelChannel
    default_port = 26379


def _is_not_noted(message: Any) -> bool:
    """Whether a message, or None, is a wake-up as it was delivered.

    Its headers are rewritten before it is acknowledged: a wake-up of protocol 1 has a note.
    """
    return message is not None and is_wake_up(message._raw["headers"])  # noqa: SLF001 - see above


def acknowledge(messages: Sequence[Any], logger: Any, errors: Any) -> None:
    """Acknowledge Kombu's messages of one channel, of any transport.

    Logs `errors`, the connection's: the broker delivers the messages again then.
    """
    channel = messages[0].channel if messages else None
    if not isinstance(channel, Channel):
        for message in messages:
            message.ack_log_error(logger, errors)
        return
    try:
        qos: Any = channel.qos
        qos.ack_all([message.delivery_tag for message in messages])
    except errors as error:
        logger.critical("Couldn't ack %r messages, reason: %r", len(messages), error)


def quarantine_message(body: object, error: str) -> None:
    """Quarantine a message, or at least log it when the database is unreachable."""
    try:
        quarantine(app.runtime.engine, body, ValueError(error))
    except DATABASE_ERRORS as failure:
        log.error("message.lost", body=repr(body)[:2000], error=error, database=str(failure))  # noqa: TRY400
