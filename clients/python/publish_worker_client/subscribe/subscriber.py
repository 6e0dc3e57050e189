"""The subscriber for programs with threads, and what it shares with the one for asyncio."""

import threading
import time
from collections.abc import Callable, Coroutine, Iterator
from functools import cached_property
from types import TracebackType
from typing import Any, ClassVar, Generic, Self, TypeVar

from redis.exceptions import RedisError

from publish_worker_client.events.event import Event, from_document
from publish_worker_client.logs import EventLog
from publish_worker_client.run_blocking import run_blocking
from publish_worker_client.servers.outage import OutageLog
from publish_worker_client.subscribe.connections import (
    SERVER_ERRORS,
    SLICE_SECONDS,
    BlockingConnections,
    Connections,
    may_pass,
)
from publish_worker_client.subscribe.errors import Gap
from publish_worker_client.subscribe.failure import Failure, to_failure
from publish_worker_client.subscribe.gaps import Gaps
from publish_worker_client.subscribe.group import Group, name_group
from publish_worker_client.subscribe.membership import Membership
from publish_worker_client.subscribe.reader import Reader
from publish_worker_client.subscribe.retries import Retries
from publish_worker_client.subscribe.spans import DeliverySpan, DeliverySpans, use_span
from publish_worker_client.subscribe.stream_entry import Entry

T = TypeVar("T")
Owner = TypeVar("Owner")
FLUSH_SECONDS = 0.1
"""An acknowledgement is on Redis after this long, or with the next read."""
UNREACHABLE_SECONDS = 0.2
"""The pause after which an unreachable server is tried again."""

log = EventLog(__name__)


class BaseDelivery(Generic[Owner]):
    """One event to handle."""

    def __init__(self, owner: Owner, entry: Entry, span: DeliverySpan | None = None) -> None:
        self._owner = owner
        self._entry = entry
        self.span = span
        """Its span, if this process has configured OpenTelemetry."""
        self.is_decided = False
        """Whether `ack()` or `fail(error)` was called."""

    def _decide(self, error: BaseException | str | None = None) -> None:
        self.is_decided = True
        if self.span is not None:
            self.span.end(error)

    @cached_property
    def event(self) -> Event:
        """The event, parsed on first use."""
        return from_document(self._entry.document)

    @property
    def position(self) -> int:
        """The event's place in the total order, from 1 on without gaps."""
        return self._entry.position

    @property
    def attempt(self) -> int:
        """1 for the first try; more after a failed try, or if a consumer ended during one."""
        return max(self._entry.tries, 1)

    @property
    def raw(self) -> bytes:
        """The CloudEvents document as it was received: JSON in UTF-8."""
        return self._entry.raw


class BaseSubscriber:
    """What both subscribers share: options, and what a step needs."""

    connections_type: ClassVar[type[Connections]]

    def __init__(  # noqa: PLR0913 - options, each named at the call
        self,
        redis_url: str,
        *,
        group: str,
        database_url: str | None = None,
        partition: tuple[int, int] | None = None,
        start_after: int | None = None,
        max_tries: int = 5,
        retry_seconds: float = 1.0,
        lease_seconds: float = 10.0,
        public_base_url: str = "http://localhost:8000",
    ) -> None:
        self.group = Group(
            name=name_group(group, partition), partition=partition, lease_seconds=lease_seconds
        )
        self._connections = self.connections_type(redis_url, database_url)
        self._membership = Membership(self.group, self._connections)
        self._retries = Retries(self._membership, max_tries, retry_seconds)
        self._gaps = Gaps(self._membership, public_base_url)
        self._reader = Reader(self._membership, self._gaps, self._retries, start_after)
        self._spans = DeliverySpans(self.group.name)
        self._outage = OutageLog(
            lambda error: log.warning("subscriber.unreachable", group=self.group.name, error=error),
            lambda: log.info("subscriber.reachable", group=self.group.name),
        )

    def stop(self) -> None:
        """End the loop after the current event. Safe in a signal handler and in any thread.

        The loop and the block end within two seconds even if a server does not answer.
        """
        self._connections.is_stopping = True

    async def _when_reachable(self, step: Coroutine[Any, Any, T], pause: float = 0) -> T | None:
        """Do a step; if a server is unreachable, pause and have the next step join again."""
        try:
            return await step
        except SERVER_ERRORS as error:
            if not may_pass(error):
                raise
            self._membership.is_open = False
            if not self._connections.is_stopping:
                self._outage.note(error)
            await self._connections.pause(pause)
            return None

    async def _advance(self, now: float) -> Entry | None:
        return await self._when_reachable(self._go_one_step(now), UNREACHABLE_SECONDS)

    async def _go_one_step(self, now: float) -> Entry | None:
        """Join or read: unlike a flush, this needs every server."""
        entry = await self._reader.advance(now)
        self._outage.end()
        return entry

    async def _flush(self, now: float) -> None:
        await self._when_reachable(self._retries.flush(now))

    async def _fail(self, entry: Entry, failure: Failure) -> None:
        await self._when_reachable(self._retries.fail(entry, failure, time.monotonic()))

    async def _leave(self) -> None:
        """Leave the group if Redis answers, and close the connections."""
        try:
            if self._connections.is_unanswered:
                log.warning("subscriber.leave_skipped", group=self.group.name)
            else:
                await self._reader.leave()
        except RedisError as error:
            log.warning("subscriber.leave_failed", group=self.group.name, error=str(error))
        finally:
            await self._connections.close()

    def _acknowledge(self, entry: Entry, now: float) -> bool:
        """Acknowledge an event; return whether a flush is due."""
        self._retries.acknowledge(entry)
        return now - self._retries.flushed_at > FLUSH_SECONDS


class Delivery(BaseDelivery["Subscriber"]):
    """One event to handle: call `ack()` once it is handled, or `fail(error)`."""

    def ack(self) -> None:
        """Acknowledge the event. Redis has it within 0.1 s of the next event, or at the end."""
        self._decide()
        self._owner.acknowledge(self._entry)

    def fail(self, error: BaseException | str) -> None:
        """Have the event tried again after a pause; after `max_tries` it is a dead letter.

        `error` is logged with its traceback, and both are kept with the dead letter.
        """
        self._decide(error)
        self._owner.fail(self._entry, error)


class Subscriber(BaseSubscriber):
    """One consumer of a group: every event at least once, each video's in order.

    Use it as a context manager, and iterate over it or call `run`. One consumer of a group reads at
    a time; the others are on standby.

    - `redis_url`: where the stream `video.events` is.
    - `group`: the consumer group's name, without a colon.
    - `database_url`: the publisher's database, to fill gaps of the stream. Default: none; a gap
      that the relay does not close within two seconds then raises Gap.
    - `partition`: (i, n) reads only the videos with crc32(partitionkey) % n = i, as the group
      `search.0of4`; i counts from 0. Default: all videos.
    - `start_after`: the position after which a new group starts. Default: the oldest event.
    - `max_tries`: tries before an event becomes a dead letter. Default: 5.
    - `retry_seconds`: the pause after the first failed try; it doubles with each one, up to 60 s.
      Default: 1.
    - `lease_seconds`: the time after which a standby takes over from a consumer that died.
      Default: 10.
    - `public_base_url`: the publisher's PUBLIC_BASE_URL, for `dataschema` of filled events.
      Default: http://localhost:8000.

    Raises ValueError if `group` or `partition` is not valid. Iterating raises Gap, OtherHistory and
    Unacknowledged. A Redis or database that is unreachable, does not answer, or answers with an
    error that passes by itself (after a failover, out of memory or disk, a changed password) is
    waited for, and its answer is logged once.
    """

    connections_type = BlockingConnections

    def __enter__(self) -> Self:
        self._closed = threading.Event()
        self._renewal = threading.Thread(target=self._renew_lease, name="subscriber", daemon=True)
        self._renewal.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Send the acknowledgements, release the lease, close the connections."""
        self._closed.set()
        self._renewal.join(SLICE_SECONDS)  # it may wait for a Redis that does not answer
        run_blocking(self._leave())

    def __iter__(self) -> Iterator[Delivery]:
        return self

    def __next__(self) -> Delivery:
        """Wait for the next event; the iteration ends after `stop()`."""
        while not self._connections.is_stopping:
            entry = self._reader.next_ready(now := time.monotonic())
            entry = entry or run_blocking(self._advance(now))
            if entry is not None:
                return Delivery(self, entry, self._spans.start(entry))
        raise StopIteration

    def run(self, handler: Callable[[Delivery], object]) -> None:
        """Call `handler` with every delivery until `stop()`.

        A delivery is acknowledged when its handler returns; an exception is a failed try. A handler
        that calls `ack()` or `fail(error)` itself has decided.
        """
        for delivery in self:
            try:
                with use_span(delivery.span):
                    handler(delivery)
            except Exception as error:  # noqa: BLE001 - it is stored, and other events go on
                if not delivery.is_decided:
                    delivery.fail(error)
            else:
                if not delivery.is_decided:
                    delivery.ack()

    def pass_over(self, gap: Gap) -> None:
        """Have the group go on without the events of a Gap. Raises what Redis raises."""
        run_blocking(self._gaps.pass_over(gap))

    def acknowledge(self, entry: Entry) -> None:
        """Acknowledge an event: for Delivery."""
        if self._acknowledge(entry, now := time.monotonic()):
            run_blocking(self._flush(now))

    def fail(self, entry: Entry, error: BaseException | str) -> None:
        """Record a failed try: for Delivery."""
        run_blocking(self._fail(entry, to_failure(error)))

    def _renew_lease(self) -> None:
        """Renew the lease, however long a handler takes."""
        while not self._closed.wait(self.group.lease_seconds / 3):
            try:
                run_blocking(self._membership.renew_lease())
            except RedisError:
                continue  # the next read reports it, and raises what does not pass
