"""The subscriber for programs on asyncio: the same core, over asynchronous connections."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress
from types import TracebackType
from typing import Self

from redis.exceptions import RedisError

from publish_worker_client.subscribe.connections import AsyncConnections
from publish_worker_client.subscribe.errors import Gap
from publish_worker_client.subscribe.failure import to_failure
from publish_worker_client.subscribe.spans import use_span
from publish_worker_client.subscribe.stream_entry import Entry
from publish_worker_client.subscribe.subscriber import BaseDelivery, BaseSubscriber


class AsyncDelivery(BaseDelivery["AsyncSubscriber"]):
    """One event to handle: await `ack()` once it is handled, or `fail(error)`."""

    async def ack(self) -> None:
        """Acknowledge the event, as `Delivery.ack` does."""
        self._decide()
        await self._owner.acknowledge(self._entry)

    async def fail(self, error: BaseException | str) -> None:
        """Have the event tried again, as `Delivery.fail` does."""
        self._decide(error)
        await self._owner.fail(self._entry, error)


class AsyncSubscriber(BaseSubscriber):
    """Subscriber for `async with` and `async for`: the same parameters, defaults and errors.

    A handler must not block the event loop for `lease_seconds`, or another consumer takes over.
    """

    connections_type = AsyncConnections

    async def __aenter__(self) -> Self:
        self._is_leaving = False
        self._renewal = asyncio.create_task(self._renew_lease())
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Send the acknowledgements, release the lease, close the connections."""
        self._is_leaving = True
        self._renewal.cancel()
        await asyncio.wait([self._renewal])
        await self._leave()

    def __aiter__(self) -> AsyncIterator[AsyncDelivery]:
        return self

    async def __anext__(self) -> AsyncDelivery:
        """Wait for the next event; the iteration ends after `stop()`."""
        while not self._connections.is_stopping:
            entry = self._reader.next_ready(now := time.monotonic())
            entry = entry or await self._advance(now)
            if entry is not None:
                return AsyncDelivery(self, entry, self._spans.start(entry))
        raise StopAsyncIteration

    async def run(self, handler: Callable[[AsyncDelivery], Awaitable[object]]) -> None:
        """Await `handler` with every delivery until `stop()`, as `Subscriber.run` does."""
        async for delivery in self:
            try:
                with use_span(delivery.span):
                    await handler(delivery)
            except Exception as error:  # noqa: BLE001 - it is stored, and other events go on
                if not delivery.is_decided:
                    await delivery.fail(error)
            else:
                if not delivery.is_decided:
                    await delivery.ack()

    async def pass_over(self, gap: Gap) -> None:
        """Have the group go on without the events of a Gap. Raises what Redis raises."""
        await self._gaps.pass_over(gap)

    async def acknowledge(self, entry: Entry) -> None:
        """Acknowledge an event: for AsyncDelivery."""
        if self._acknowledge(entry, now := time.monotonic()):
            await self._flush(now)

    async def fail(self, entry: Entry, error: BaseException | str) -> None:
        """Record a failed try: for AsyncDelivery."""
        await self._fail(entry, to_failure(error))

    async def _renew_lease(self) -> None:
        while not self._is_leaving:
            await asyncio.sleep(self.group.lease_seconds / 3)
            with suppress(RedisError):  # the next read reports it, and raises what does not pass
                await self._membership.renew_lease()
