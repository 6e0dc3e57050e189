"""The live tail: one look at what is new, shared by everybody in this process who waits for it.

It follows the Redis stream; in each second without news, and while Redis is away, it looks into the
outbox, which is the truth. The last events stay in memory, so that whoever comes back after a
moment is served from there. A reader further behind reads pages of the outbox, at its own pace,
until it has caught up. It then has a bounded buffer: who lets that overflow is dropped.
"""

import asyncio
import time
from collections import defaultdict, deque
from collections.abc import AsyncGenerator, Awaitable, Sequence
from contextlib import asynccontextmanager, suppress
from enum import StrEnum
from typing import Any
from uuid import UUID

import structlog
from anyio import CapacityLimiter, to_thread
from pydantic_core import from_json
from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError
from sqlalchemy import Engine

from db.errors import DATABASE_ERRORS
from schemas.feed import Told, Wanted
from schemas.values.caller import Caller
from worker.events.feed import Page, PositionUnknown, read
from worker.events.redis_stream import FIELD, STREAM
from worker.operations.api_keys import still_valid
from worker.runtime.redis_streams import entries_of

REMEMBERED = 1_000
"""Events kept in memory for those who come back."""
BUFFER = 2_000
"""Events that a reader may be behind, once it has caught up."""
COUNT = 500
"""Events read from the stream, or from the outbox, at once."""
BLOCK_MS = 1_000
"""How long the stream may be silent before the outbox is looked at."""
HEARTBEAT_SECONDS = 15.0
"""How long a reader waits at most: proxies cut a connection that is silent for a minute."""
IDLE_LOOK_SECONDS = 1.0
"""How often it is looked who has waited for so long."""
KEYS_SECONDS = 5.0
"""How often it is looked whether the readers' keys are still valid."""
CATCHING_UP = 4
"""Readers that read the outbox at the same time: the API's other callers need connections too."""

EVERYTHING = Wanted(workspace_id=None)

log: structlog.stdlib.BoundLogger = structlog.stdlib.get_logger(__name__)


class Ending(StrEnum):
    """Why a reader gets no more."""

    TOO_SLOW = "too_slow"
    """It let its buffer overflow."""
    KEY_REVOKED = "key_revoked"
    STOPPING = "stopping"
    """This process ends; another one goes on."""
    POSITION_UNKNOWN = "position_unknown"
    """What follows its position is kept no longer, or the positions have begun anew."""


class Reader:
    """One who follows. `position`: up to here it has been given everything that it wants."""

    def __init__(self, tail: "Tail", key_id: UUID, wanted: Wanted) -> None:
        self.key_id = key_id
        self.wanted = wanted
        self.position = 0
        self.ending: Ending | None = None
        self.waits_since = 0.0
        self._tail = tail
        self._pending: deque[Told] = deque()
        self._news = asyncio.Event()
        self._is_live = False

    async def read(self, at_most: int) -> list[Told]:
        """The next events, in order; none after a quarter of a minute, or if there are no more.

        A timer of its own for each reader would cost more than all the rest.
        """
        if not self._is_live and not self._join():
            return await self._catch_up(at_most)
        if not self._pending and self.ending is None:
            self.waits_since = time.monotonic()
            await self._news.wait()
        taken = [self._pending.popleft() for _ in range(min(at_most, len(self._pending)))]
        if taken:
            self.position = taken[-1].position
        if not self._pending and self.ending is None:
            self._news.clear()
            self.position = max(self.position, self._tail.position)  # the rest is not wanted
        return taken

    def offer(self, events: Sequence[Told]) -> None:
        """Take what is wanted of these, which are of a workspace that this reader may see."""
        if events[0].position <= self.position:
            events = [event for event in events if event.position > self.position]
        self._pending.extend(events if self.wanted.is_everything else self.wanted.of(events))
        if len(self._pending) > BUFFER:
            self._pending.clear()
            self.end(Ending.TOO_SLOW)
        elif self._pending:
            self._news.set()

    def end(self, ending: Ending) -> None:
        """There will be no more; what is pending still goes out."""
        self.ending = self.ending or ending
        self._tail.forget(self)
        self._news.set()

    def look_up(self) -> None:
        """Wait no longer, although there is nothing."""
        self._news.set()

    def _join(self) -> bool:
        """Go live if the events in memory reach back far enough."""
        if self.ending is not None:
            return True
        remembered = self._tail.remembered(self.position)
        if remembered is None:
            return False
        self._is_live = True
        self._tail.add(self)
        if mine := self.wanted.of(remembered):
            self.offer(mine)
        return True

    async def _catch_up(self, at_most: int) -> list[Told]:
        try:
            page = await self._tail.page(self.wanted, self.position, at_most)
        except PositionUnknown:
            self.end(Ending.POSITION_UNKNOWN)
            return []
        self.position = page.next_after
        return page.events


class Tail:
    """Follows the events while anybody reads, and hands each to those who want it."""

    def __init__(self, engine: Engine, redis_url: str, base_url: str) -> None:
        self.position = 0
        self._engine = engine
        self._redis_url = redis_url
        self._base_url = base_url
        self._memory: deque[Told] = deque(maxlen=REMEMBERED)
        self._readers: set[Reader] = set()
        self._by_workspace: dict[int | None, set[Reader]] = defaultdict(set)
        self._following: asyncio.Task[None] | None = None
        self._is_following = False
        self._waiting: asyncio.Future[Any] | None = None
        self._starting = asyncio.Lock()
        self._stopped = False
        self._keys_seen_at = 0.0
        self._idle_seen_at = 0.0
        self._catching_up = CapacityLimiter(CATCHING_UP)

    @asynccontextmanager
    async def reader(
        self, caller: Caller, wanted: Wanted, after: int | None
    ) -> AsyncGenerator[Reader]:
        """A reader of what follows `after` (None: of what comes from now on).

        Raises PositionUnknown, and database errors.
        """
        joined = await self.join(caller, wanted, after)
        try:
            yield joined
        finally:
            self.forget(joined)

    async def join(self, caller: Caller, wanted: Wanted, after: int | None) -> Reader:
        """As `reader`; whoever calls this calls `forget` at the end."""
        reader = Reader(self, caller.key_id, wanted)
        self._readers.add(reader)  # now, so that the tail does not end for want of readers
        try:
            await self._start()
            if after is not None and (after > self.position or self.remembered(after) is None):
                await self.page(wanted, after, 1)  # refused now, or never
        except BaseException:
            self.forget(reader)
            raise
        reader.position = self.position if after is None else after
        if self._stopped:
            reader.end(Ending.STOPPING)
        return reader

    def add(self, reader: Reader) -> None:
        """Hand this reader what comes from now on."""
        self._by_workspace[reader.wanted.workspace_id].add(reader)

    def forget(self, reader: Reader) -> None:
        """Hand this reader nothing more."""
        self._readers.discard(reader)
        self._by_workspace[reader.wanted.workspace_id].discard(reader)

    def remembered(self, after: int) -> list[Told] | None:
        """Every event behind a position, from memory; None if that does not reach back so far.

        A position may be ahead of ours: the outbox is read before the stream has what it has.
        """
        behind = max(self.position - after, 0)
        if behind > len(self._memory):
            return None
        return [self._memory[place] for place in range(-behind, 0)]

    async def page(self, wanted: Wanted, after: int, limit: int) -> Page:
        """A page of the outbox, for one who is behind."""
        return await to_thread.run_sync(self._read, wanted, after, limit, limiter=self._catching_up)

    @property
    def live_readers(self) -> int:
        """How many have caught up and follow."""
        return sum(map(len, self._by_workspace.values()))

    def stop(self) -> None:
        """Tell every reader that this process ends, at once."""
        if self._waiting and not self._stopped:
            self._waiting.cancel()
        self._stopped = True
        self._end_all(Ending.STOPPING)

    async def close(self) -> None:
        """Stop, and wait for the end of the look that has begun."""
        self.stop()
        if self._following:  # not cancelled: a thread that looks would keep its connection
            await asyncio.gather(self._following, return_exceptions=True)

    def _read(self, wanted: Wanted, after: int | None, limit: int) -> Page:
        return read(self._engine, wanted, after=after, limit=limit, base_url=self._base_url)

    async def _start(self) -> None:
        """Begin where the outbox ends now, unless that has been done."""
        async with self._starting:
            if self._stopped or self._is_following:
                return
            await to_thread.run_sync(self._remember)
            self._is_following = True
            self._following = asyncio.create_task(self._follow())

    def _remember(self) -> None:
        """Fill the memory with the last events."""
        self._memory.clear()
        end = self._read(EVERYTHING, None, 1).last
        after = max(end - REMEMBERED, 0)
        while after < end:
            try:
                page = self._read(EVERYTHING, after, COUNT)
            except PositionUnknown as unknown:
                after = getattr(unknown, "oldest", end + 1) - 1
                continue
            self._memory.extend(page.events)
            after = page.next_after
        self.position = after

    async def _follow(self) -> None:
        # One attempt: the next look is a second away, and the outbox is there meanwhile.
        redis = Redis.from_url(
            self._redis_url,
            socket_timeout=2 * BLOCK_MS / 1000,
            socket_connect_timeout=1,
            retry=Retry(NoBackoff(), 0),
        )
        try:
            while self._readers and not self._stopped:
                events = await self._from_stream(redis)
                if not events and not self._stopped:
                    events = await self._from_outbox()
                self._hand_out(events)
                self._let_the_idle_look_up()
                await self._look_at_keys()
        finally:
            self._is_following = False
            self._end_all(Ending.STOPPING)  # nobody waits for what will not come
            await redis.aclose()

    async def _from_stream(self, redis: Redis) -> list[Told]:
        """What the stream has behind our position, as far as that has no gap."""
        behind: Any = {STREAM: f"{self.position}-0"}
        try:
            answer = await self._unless_stopped(redis.xread(behind, count=COUNT, block=BLOCK_MS))
        except RedisError as error:
            log.warning("live.redis_away", error=str(error), instead="the outbox, each second")
            answer = await self._unless_stopped(asyncio.sleep(BLOCK_MS / 1000))
        found: list[Told] = []
        for entry_id, fields in entries_of(answer):
            event = _told(int(entry_id.split(b"-")[0]), fields)
            if event is None or event.position != self.position + len(found) + 1:
                break
            found.append(event)
        return found

    async def _unless_stopped(self, waiting: Awaitable[Any]) -> Any:
        """Wait, but no longer than until this process ends; None then."""
        self._waiting = asyncio.ensure_future(waiting)
        try:
            return await self._waiting
        except asyncio.CancelledError:
            if not self._stopped:
                raise
            return None
        finally:
            self._waiting = None

    async def _from_outbox(self) -> list[Told]:
        """What the outbox has behind our position."""
        try:
            page = await to_thread.run_sync(self._read, EVERYTHING, self.position, COUNT)
        except PositionUnknown as error:
            log.error("live.position_unknown", error=str(error))  # noqa: TRY400 - says it all
            self._end_all(Ending.POSITION_UNKNOWN)
            with suppress(*DATABASE_ERRORS):
                await to_thread.run_sync(self._remember)
            return []
        except DATABASE_ERRORS as error:
            log.warning("live.database_away", error=str(error))
            return []
        return page.events

    def _hand_out(self, events: list[Told]) -> None:
        if not events:
            return
        self._memory.extend(events)
        self.position = events[-1].position
        of_workspace: dict[int, list[Told]] = defaultdict(list)
        for event in events:
            of_workspace[event.workspace_id].append(event)
        for reader in list(self._by_workspace[None]):
            reader.offer(events)
        for workspace_id, its_events in of_workspace.items():
            for reader in list(self._by_workspace.get(workspace_id, ())):
                reader.offer(its_events)

    def _let_the_idle_look_up(self) -> None:
        now = time.monotonic()
        if now < self._idle_seen_at + IDLE_LOOK_SECONDS:
            return
        self._idle_seen_at = now
        for reader in [*self._readers]:
            if reader.waits_since < now - HEARTBEAT_SECONDS:
                reader.look_up()

    async def _look_at_keys(self) -> None:
        """End the readers whose key was revoked: it works at once, or nearly."""
        if time.monotonic() < self._keys_seen_at + KEYS_SECONDS:
            return
        self._keys_seen_at = time.monotonic()
        held: dict[UUID, list[Reader]] = defaultdict(list)
        for reader in self._readers:
            held[reader.key_id].append(reader)
        with suppress(*DATABASE_ERRORS):
            valid = await to_thread.run_sync(still_valid, self._engine, list(held))
            for key_id in held.keys() - valid:
                for reader in held[key_id]:
                    reader.end(Ending.KEY_REVOKED)

    def _end_all(self, ending: Ending) -> None:
        for reader in list(self._readers):
            reader.end(ending)


def _told(position: int, fields: dict[bytes, bytes]) -> Told | None:
    """The event in an entry of the stream; None if that is no event of ours."""
    try:
        document = fields[FIELD.encode()].decode()
        event = from_json(document)
        return Told(
            position=position,
            type=event["type"],
            subject=event["subject"],
            workspace_id=int(event["source"].removeprefix("/workspaces/")),
            document=document,
        )
    except (KeyError, ValueError, TypeError):
        return None
