"""The live tail: follows the events once for all readers of this process.

A new entry of the Redis stream says that there is something to read; the events are read from the
outbox, since any program may write to the stream. The outbox is also read after each second without
an entry, and while Redis is unreachable. The last events stay in memory: a reader that
reconnects after a moment continues from there.
"""

import asyncio
import time
from collections import Counter, defaultdict, deque
from collections.abc import AsyncGenerator, Awaitable
from contextlib import asynccontextmanager, suppress
from typing import Any
from uuid import UUID

import structlog
from anyio import CapacityLimiter, to_thread
from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError
from sqlalchemy import Engine

from db.errors import DATABASE_ERRORS
from publish_worker_client.events.stream_entries import STREAM
from publish_worker_client.servers.redis_url import read_redis_url
from schemas.feed import EventFilter, FeedEvent
from schemas.values.caller import Caller
from worker.api.streaming.tail_reader import EndReason, TailReader
from worker.events.feed import FeedPage, PositionGone, PositionUnknown, read_page
from worker.operations.api_keys import find_valid
from worker.operations.console_sessions import find_open
from worker.runtime.outage import Outage

REMEMBERED = 1_000
"""Events kept in memory for readers that reconnect."""
COUNT = 500
"""Events read from the outbox at once."""
BLOCK_MS = 1_000
"""How long the stream may be silent before the outbox is read."""
HEARTBEAT_SECONDS = 15.0
"""The longest wait of a reader: proxies close a connection that is silent for a minute."""
IDLE_CHECK_SECONDS = 1.0
"""The interval of the search for readers that wait longer than that."""
KEY_CHECK_SECONDS = 5.0
"""The interval of the checks that the readers' keys, and sessions at the console, are valid."""
CATCHING_UP = 4
"""Readers that read the outbox at the same time: other requests need connections too."""

READERS_PER_KEY = 2_000
"""Live readers of one key: a key in a web page is shared by all its visitors."""

EVERYTHING = EventFilter(workspace_id=None)

log: structlog.stdlib.BoundLogger = structlog.stdlib.get_logger(__name__)


class TooManyReaders(Exception):
    """The key has as many live readers as this process allows it."""


class Tail:
    """Follows the events while there are readers, and offers each event to those that match.

    `position` is the position of the last event that was read.
    """

    def __init__(self, engine: Engine, redis_url: str, base_url: str) -> None:
        self.position = 0
        self._engine = engine
        self._redis_url = redis_url
        self._base_url = base_url
        self._memory: deque[FeedEvent] = deque(maxlen=REMEMBERED)
        self._readers: set[TailReader] = set()
        self._readers_by_key: Counter[UUID] = Counter()
        self._live_by_workspace: dict[int | None, set[TailReader]] = defaultdict(set)
        self._following: asyncio.Task[None] | None = None
        self._is_following = False
        self._outage = Outage("tail.unreachable", "tail.reachable", instead="the outbox")
        self._waiting: asyncio.Future[Any] | None = None
        self._starting = asyncio.Lock()
        self._stopped = False
        self._keys_checked_at = 0.0
        self._sessions_checked_at = 0.0
        self._idle_checked_at = 0.0
        self._catching_up = CapacityLimiter(CATCHING_UP)

    @asynccontextmanager
    async def reader(
        self, caller: Caller, event_filter: EventFilter, after: int | None
    ) -> AsyncGenerator[TailReader]:
        """A reader of the events after `after` (None: from now on), removed when the block ends.

        Raises PositionUnknown, and database errors.
        """
        reader = await self.join(caller, event_filter, after)
        try:
            yield reader
        finally:
            self.remove(reader)

    async def join(
        self, caller: Caller, event_filter: EventFilter, after: int | None
    ) -> TailReader:
        """Like `reader`, but the caller must call `remove` in the end.

        Raises TooManyReaders.
        """
        if self._readers_by_key[caller.id] >= READERS_PER_KEY:
            raise TooManyReaders
        reader = TailReader(self, caller.id, event_filter)
        self._readers_by_key[caller.id] += 1
        self._readers.add(reader)  # first, so that the tail does not end for lack of readers
        try:
            await self._start()
            if after is not None and (after > self.position or self.remembered(after) is None):
                await self.read_page(event_filter, after, 1)  # refuses a position that is unknown
        except BaseException:
            self.remove(reader)
            raise
        reader.position = self.position if after is None else after
        if self._stopped:
            reader.end(EndReason.STOPPING)
        return reader

    def add_live(self, reader: TailReader) -> None:
        """Offer this reader every event from now on."""
        self._live_by_workspace[reader.event_filter.workspace_id].add(reader)

    def remove(self, reader: TailReader) -> None:
        """Offer this reader no more events."""
        if reader in self._readers:
            self._readers.remove(reader)
            self._readers_by_key[reader.caller_id] -= 1
            self._readers_by_key = +self._readers_by_key  # without keys that have no reader
        self._live_by_workspace[reader.event_filter.workspace_id].discard(reader)

    def remembered(self, after: int) -> list[FeedEvent] | None:
        """All events after a position, from memory; None if the memory does not reach back there.

        The position may be ahead of ours: the outbox has events before the stream has them.
        """
        count = max(self.position - after, 0)
        if count > len(self._memory):
            return None
        return [self._memory[index] for index in range(-count, 0)]

    async def read_page(self, event_filter: EventFilter, after: int, limit: int) -> FeedPage:
        """A page of the outbox, for a reader that is catching up."""
        return await to_thread.run_sync(
            self._read_page, event_filter, after, limit, limiter=self._catching_up
        )

    @property
    def live_readers(self) -> int:
        """The number of readers that have caught up."""
        return sum(map(len, self._live_by_workspace.values()))

    def stop(self) -> None:
        """End every reader at once, since this process stops."""
        if self._waiting and not self._stopped:
            self._waiting.cancel()
        self._stopped = True
        self._end_all(EndReason.STOPPING)

    async def close(self) -> None:
        """Stop, and wait until a read that has begun is finished."""
        self.stop()
        if self._following:  # not cancelled: a thread that reads would keep its connection
            await asyncio.gather(self._following, return_exceptions=True)

    def _read_page(self, event_filter: EventFilter, after: int | None, limit: int) -> FeedPage:
        return read_page(
            self._engine, event_filter, after=after, limit=limit, base_url=self._base_url
        )

    async def _start(self) -> None:
        """Begin to follow at the end of the outbox, unless this tail is following."""
        async with self._starting:
            if self._stopped or self._is_following:
                return
            await to_thread.run_sync(self._fill_memory)
            self._is_following = True
            self._following = asyncio.create_task(self._follow())

    def _fill_memory(self) -> None:
        self._memory.clear()
        end = self._read_page(EVERYTHING, None, 1).last
        after = max(end - REMEMBERED, 0)
        while after < end:
            try:
                page = self._read_page(EVERYTHING, after, COUNT)
            except PositionUnknown as error:
                after = error.oldest - 1 if isinstance(error, PositionGone) else end
                continue
            self._memory.extend(page.events)
            after = page.next_after
        self.position = after

    async def _follow(self) -> None:
        # Without retries: the next read comes within a second, and the outbox replaces the stream.
        redis = read_redis_url(self._redis_url).open_async(
            socket_timeout=2 * BLOCK_MS / 1000,
            socket_connect_timeout=1,
            retry=Retry(NoBackoff(), 0),
        )
        try:
            while self._readers and not self._stopped:
                has_entry = await self._wait_for_entry(redis)
                events = [] if self._stopped else await self._read_outbox()
                if has_entry and not events:  # of another program: no read waits at it
                    await self._unless_stopped(asyncio.sleep(BLOCK_MS / 1000))
                self._distribute(events)
                self._wake_up_idle()
                await self._check_keys()
                await self._check_sessions()
        finally:
            self._is_following = False
            self._end_all(EndReason.STOPPING)  # no reader waits for events that will not come
            await redis.aclose()

    async def _wait_for_entry(self, redis: Redis) -> bool:
        """Wait for an entry after our position, at most BLOCK_MS; return whether there is one."""
        streams: Any = {STREAM: f"{self.position}-0"}
        try:
            answer = await self._unless_stopped(_read(redis, streams))
        except RedisError as error:
            self._outage.note(error)
            await redis.connection_pool.disconnect()  # this server may be a replica now
            await self._unless_stopped(asyncio.sleep(BLOCK_MS / 1000))
            return False
        self._outage.end()
        return bool(answer)

    async def _unless_stopped(self, waiting: Awaitable[Any]) -> Any:
        """Wait for a result; None if this process stops meanwhile."""
        self._waiting = asyncio.ensure_future(waiting)
        try:
            return await self._waiting
        except asyncio.CancelledError:
            if not self._stopped:
                raise
            return None
        finally:
            self._waiting = None

    async def _read_outbox(self) -> list[FeedEvent]:
        """The outbox's events after our position."""
        try:
            page = await to_thread.run_sync(self._read_page, EVERYTHING, self.position, COUNT)
        except PositionUnknown as error:
            log.error("tail.position_unknown", error=str(error))  # noqa: TRY400 - not a bug
            self._end_all(EndReason.POSITION_UNKNOWN)
            with suppress(*DATABASE_ERRORS):
                await to_thread.run_sync(self._fill_memory)
            return []
        except DATABASE_ERRORS as error:
            log.warning("tail.database_unreachable", error=str(error))
            return []
        return page.events

    def _distribute(self, events: list[FeedEvent]) -> None:
        """Remember the events, and offer them to the live readers."""
        if not events:
            return
        self._memory.extend(events)
        self.position = events[-1].position
        by_workspace: dict[int | None, list[FeedEvent]] = defaultdict(list)
        by_workspace[None] = events
        for event in events:
            by_workspace[event.workspace_id].append(event)
        for workspace_id, its_events in by_workspace.items():
            for reader in list(self._live_by_workspace.get(workspace_id, ())):
                reader.offer(its_events)

    def _wake_up_idle(self) -> None:
        now = time.monotonic()
        if now < self._idle_checked_at + IDLE_CHECK_SECONDS:
            return
        self._idle_checked_at = now
        for reader in list(self._readers):
            if reader.waits_since < now - HEARTBEAT_SECONDS:
                reader.wake_up()

    async def _check_keys(self) -> None:
        """End the readers whose key was revoked, or whose person has logged out."""
        if time.monotonic() < self._keys_checked_at + KEY_CHECK_SECONDS:
            return
        self._keys_checked_at = time.monotonic()
        by_key: dict[UUID, list[TailReader]] = defaultdict(list)
        for reader in self._readers:
            by_key[reader.caller_id].append(reader)
        with suppress(*DATABASE_ERRORS):
            valid = await to_thread.run_sync(find_valid, self._engine, list(by_key))
            for caller_id in by_key.keys() - valid:
                for reader in by_key[caller_id]:
                    reader.end(EndReason.KEY_REVOKED)

    async def _check_sessions(self) -> None:
        """End the readers whose session at the console has ended."""
        if time.monotonic() < self._sessions_checked_at + KEY_CHECK_SECONDS:
            return
        self._sessions_checked_at = time.monotonic()
        readers = [reader for reader in self._readers if reader.session is not None]
        digests = {reader.session for reader in readers if reader.session is not None}
        if not digests:
            return
        with suppress(*DATABASE_ERRORS):
            still_open = await to_thread.run_sync(find_open, self._engine, digests)
            for reader in readers:
                if reader.session not in still_open:
                    reader.end(EndReason.SESSION_ENDED)

    def _end_all(self, reason: EndReason) -> None:
        for reader in list(self._readers):
            reader.end(reason)


async def _read(redis: Redis, streams: Any) -> Any:
    """Wait for an entry. The client's own coroutine must not be cancelled before it has begun."""
    return await redis.xread(streams, count=1, block=BLOCK_MS)
