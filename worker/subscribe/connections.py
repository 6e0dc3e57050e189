"""A subscriber's connections to Redis and to the outbox: blocking ones, and ones for asyncio.

The core (reader, gaps, retries) is written once, with `await`. Over blocking connections nothing
suspends: `run_blocking` runs a coroutine of the core as a plain function.
"""

import asyncio
import time
from collections.abc import Callable, Coroutine
from typing import Any, Protocol, TypeVar

import psycopg
from redis import Redis
from redis.asyncio import Redis as AsyncRedis
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import TimeoutError as RedisTimeoutError
from sqlalchemy.exc import OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from db.events import outbox
from db.events.outbox import RecordedEvent
from db.session import connect, transaction

T = TypeVar("T")
Value = str | bytes | int | float
Command = tuple[Value, ...]
UNREACHABLE = (
    RedisConnectionError,
    RedisTimeoutError,
    psycopg.OperationalError,
    psycopg.InterfaceError,
    OperationalError,
    PoolTimeout,
)
"""Errors that pass by themselves: of Redis, of the database's driver, and of SQLAlchemy's pool."""
SLICE_SECONDS = 0.05
"""A pause is waited in slices, between which a stop is noticed."""


class Outbox:
    """The publisher's outbox; it connects on first use. Its methods raise the database's errors."""

    def __init__(self, database_url: str) -> None:
        self._engine = connect(database_url, pool_size=1)

    def read(self, after: int, limit: int) -> list[RecordedEvent]:
        """Return up to `limit` events after a position."""
        with transaction(self._engine) as tx:
            return outbox.read_after(tx, after, limit)

    def ends(self) -> tuple[int, int | None]:
        """Return the last position given out, and the oldest one kept."""
        with transaction(self._engine) as tx:
            return outbox.read_ends(tx)

    def close(self) -> None:
        """Close its connections."""
        self._engine.dispose()


class Connections(Protocol):
    """What the core needs from outside."""

    is_stopping: bool

    def __init__(self, redis_url: str, database_url: str | None) -> None: ...

    async def send(self, commands: list[Command]) -> list[Any]:
        """Send commands to Redis in one round trip; a refused one is answered by its exception."""
        ...

    async def ask_outbox(self, question: Callable[[Outbox], T]) -> T | None:
        """Ask the outbox; None: there is no `database_url`."""
        ...

    async def pause(self, seconds: float) -> None:
        """Wait, at most until the subscriber is stopped."""
        ...

    async def close(self) -> None:
        """Close all connections."""
        ...


class BlockingConnections(Connections):
    """For threads: no method suspends."""

    def __init__(self, redis_url: str, database_url: str | None) -> None:
        self.is_stopping = False
        self._redis = _to_raw(Redis.from_url(redis_url, protocol=2))
        self._outbox = Outbox(database_url) if database_url else None

    async def send(self, commands: list[Command]) -> list[Any]:
        """Send commands to Redis."""
        with self._redis.pipeline(transaction=False) as pipe:
            for command in commands:
                pipe.execute_command(*command)
            return pipe.execute(raise_on_error=False)

    async def ask_outbox(self, question: Callable[[Outbox], T]) -> T | None:
        """Ask the outbox."""
        return question(self._outbox) if self._outbox else None

    async def pause(self, seconds: float) -> None:
        """Wait."""
        until = time.monotonic() + seconds
        while not self.is_stopping and (left := until - time.monotonic()) > 0:
            time.sleep(min(left, SLICE_SECONDS))  # noqa: ASYNC251 - it blocks on purpose

    async def close(self) -> None:
        """Close all connections."""
        self._redis.close()
        if self._outbox:
            self._outbox.close()


class AsyncConnections(Connections):
    """For asyncio; the outbox is read in a thread."""

    def __init__(self, redis_url: str, database_url: str | None) -> None:
        self.is_stopping = False
        self._redis = _to_raw(AsyncRedis.from_url(redis_url, protocol=2))
        self._outbox = Outbox(database_url) if database_url else None

    async def send(self, commands: list[Command]) -> list[Any]:
        """Send commands to Redis."""
        async with self._redis.pipeline(transaction=False) as pipe:
            for command in commands:
                pipe.execute_command(*command)
            return await pipe.execute(raise_on_error=False)

    async def ask_outbox(self, question: Callable[[Outbox], T]) -> T | None:
        """Ask the outbox."""
        return await asyncio.to_thread(question, self._outbox) if self._outbox else None

    async def pause(self, seconds: float) -> None:
        """Wait."""
        until = time.monotonic() + seconds
        while not self.is_stopping and (left := until - time.monotonic()) > 0:  # noqa: ASYNC110 - a signal handler may stop it
            await asyncio.sleep(min(left, SLICE_SECONDS))

    async def close(self) -> None:
        """Close all connections."""
        await self._redis.aclose()
        if self._outbox:
            await asyncio.to_thread(self._outbox.close)


def run_blocking(coroutine: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine of the core over blocking connections; return its result."""
    try:
        coroutine.send(None)
    except StopIteration as end:
        return end.value
    coroutine.close()
    raise RuntimeError("a coroutine over blocking connections has suspended")


def _to_raw(redis: Any) -> Any:
    """Have the client return entries as Redis sends them: a dict for each costs a third."""
    redis.set_response_callback("XREADGROUP", _keep_raw)
    return redis


def _keep_raw(reply: Any, **_options: Any) -> Any:
    return reply
