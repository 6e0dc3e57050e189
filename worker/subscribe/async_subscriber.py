"""The subscriber for programs on asyncio; the same course."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress
from types import TracebackType
from typing import Any, Self, TypeVar

import structlog
from redis.asyncio import Redis

from schemas.received_event import Event
from worker.subscribe.delivery import Delivery, named, told
from worker.subscribe.effects import Ask, AskEnds, Course, Effect, Pause, Send
from worker.subscribe.errors import Gap
from worker.subscribe.group import Group
from worker.subscribe.outbox_reading import OutboxReading
from worker.subscribe.reader import FLUSH_SECONDS, Reader
from worker.subscribe.subscriber import (
    AWAY,
    AWAY_SECONDS,
    LEASE_SECONDS,
    MAX_TRIES,
    SLICE_SECONDS,
    client,
)

T = TypeVar("T")

log: structlog.stdlib.BoundLogger = structlog.stdlib.get_logger(__name__)


class AsyncDelivery(Delivery["AsyncSubscriber"]):
    """One event; await `ack()` once it is handled, or `fail(error)`."""

    async def ack(self) -> None:
        """It was handled. Told to Redis at once, or with the next ones if they come fast."""
        await self._owner.acknowledge(self._entry)

    async def fail(self, error: BaseException | str) -> None:
        """It could not be handled: it comes again after a pause, or is set aside."""
        await self._owner.fail(self._entry, told(error))


class AsyncSubscriber:
    """What Subscriber is, for `async for`. A handler must not hold up the event loop for longer
    than `lease_seconds`, or another consumer takes over.
    """

    def __init__(  # noqa: PLR0913 - options, each named at the call
        self,
        redis_url: str,
        *,
        group: str,
        database_url: str | None = None,
        partition: tuple[int, int] | None = None,
        shared: bool = False,
        start_after: int | None = None,
        max_tries: int = MAX_TRIES,
        retry_seconds: float = 1.0,
        lease_seconds: float = LEASE_SECONDS,
        public_base_url: str = "http://localhost:8000",
    ) -> None:
        self._redis = client(Redis, redis_url)
        self._outbox = OutboxReading(database_url) if database_url else None
        self.group = Group(
            name=named(group, partition, shared=shared),
            shared=shared,
            partition=partition,
            lease_seconds=lease_seconds,
        )
        self._reader = Reader(
            self.group,
            start_after=start_after,
            max_tries=max_tries,
            retry_seconds=retry_seconds,
            base_url=public_base_url if database_url else None,
        )
        self._stopping = False
        self._keeper: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        self._keeper = asyncio.create_task(self._keep_alive())
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Send what was acknowledged, hand over, close."""
        if self._keeper:
            self._keeper.cancel()
            with suppress(asyncio.CancelledError):
                await self._keeper
        try:
            await self._drive(self._reader.leave())
        except AWAY as away:
            log.warning("subscriber.left_unheard", group=self.group.name, error=str(away))
        await self._redis.aclose()
        if self._outbox:
            await asyncio.to_thread(self._outbox.close)

    def __aiter__(self) -> AsyncIterator[AsyncDelivery]:
        return self

    async def __anext__(self) -> AsyncDelivery:
        """The next event, waited for; ends after `stop()`."""
        while not self._stopping:
            entry = self._reader.at_hand(now := time.monotonic())
            if entry is None:
                entry = await self._patiently(self._reader.advance(now))
            if entry is not None:
                return AsyncDelivery(self, entry)
        raise StopAsyncIteration

    async def run(self, handler: Callable[[Event], Awaitable[object]]) -> None:
        """Hand every event to `handler` until `stop()`; what it raises is a failed try."""
        async for delivery in self:
            try:
                await handler(delivery.event)
            except Exception as error:  # noqa: BLE001 - whatever a handler raises, others go on
                await delivery.fail(error)
            else:
                await delivery.ack()

    def stop(self) -> None:
        """End the loop after the event in hand; also with `loop.add_signal_handler`."""
        self._stopping = True

    async def pass_over(self, gap: Gap) -> None:
        """Let the group go on without the events that a Gap has named."""
        await self._drive(self._reader.pass_over(gap))

    async def acknowledge(self, entry: Any) -> None:
        """For a delivery."""
        self._reader.note_done(entry)
        now = time.monotonic()
        if now - self._reader.flushed_at > FLUSH_SECONDS:
            await self._patiently(self._reader.flush(now), pause=False)

    async def fail(self, entry: Any, error: str) -> None:
        """For a delivery."""
        await self._patiently(self._reader.fail(entry, error, time.monotonic()), pause=False)

    async def _patiently(self, course: Course[T], *, pause: bool = True) -> T | None:
        try:
            return await self._drive(course)
        except AWAY as error:
            self._reader.is_open = False
            log.warning("subscriber.waits", group=self.group.name, error=str(error))
            if pause:
                await self._pause(AWAY_SECONDS)
            return None

    async def _drive(self, course: Course[T]) -> T:
        try:
            effect = next(course)
            while True:
                try:
                    result = await self._perform(effect)
                except BaseException:
                    course.close()
                    raise
                effect = course.send(result)
        except StopIteration as end:
            return end.value

    async def _perform(self, effect: Effect) -> Any:
        match effect:
            case Send(commands=commands):
                async with self._redis.pipeline(transaction=False) as pipe:
                    for command in commands:
                        pipe.execute_command(*command)
                    return await pipe.execute(raise_on_error=False)
            case Pause(seconds=seconds):
                return await self._pause(seconds)
            case Ask() | AskEnds():
                return self._outbox and await asyncio.to_thread(self._outbox.answer, effect)

    async def _pause(self, seconds: float) -> None:
        until = time.monotonic() + seconds
        while not self._stopping and (left := until - time.monotonic()) > 0:  # noqa: ASYNC110 - `stop` may be called from a signal handler
            await asyncio.sleep(min(left, SLICE_SECONDS))

    async def _keep_alive(self) -> None:
        while True:
            await asyncio.sleep(self.group.lease_seconds / 3)
            if not self._reader.has_lease:
                continue
            try:
                if not await self._drive(self._reader.keep_alive()):
                    self._reader.lost_lease = True
            except AWAY:
                continue  # who reads notices by himself
