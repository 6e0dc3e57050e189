"""A subscriber's connections to Redis and to the outbox: blocking ones, and ones for asyncio.

The core (reader, gaps, retries) is written once, with `await`. Over blocking connections nothing
suspends: `run_blocking` runs a coroutine of the core as a plain function.
"""

import asyncio
import time
from collections.abc import Iterable
from concurrent.futures import Future, wait
from typing import Any, Protocol, TypeVar

import psycopg
from redis.asyncio.retry import Retry as AsyncRetry
from redis.backoff import NoBackoff
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import RedisError
from redis.retry import Retry

from publish_worker_client.servers.database_errors import is_passing as is_passing_in_database
from publish_worker_client.servers.redis_errors import is_passing, needs_new_connection
from publish_worker_client.servers.redis_url import read_redis_url
from publish_worker_client.subscribe.outbox import Outbox, Question

T = TypeVar("T")
Value = str | bytes | int | float
Command = tuple[Value, ...]
SERVER_ERRORS = (RedisError, psycopg.Error)
"""What the servers raise: see `may_pass`."""
SLICE_SECONDS = 0.05
"""A pause is waited in slices, between which a stop is noticed."""
POLL_SECONDS = 0.005
"""The interval at which asyncio looks for an answer of the outbox."""
ANSWER_SECONDS = 2.0
"""How long Redis may take to answer: the longest wait of a stop. A read waits 0.5 s."""


def may_pass(error: BaseException) -> bool:
    """Whether a server is unreachable, or answers with an error that passes by itself.

    The statements of a subscriber only read, so one that was cancelled passes, too.
    """
    is_cancelled = isinstance(error, psycopg.errors.QueryCanceled)
    return is_cancelled or is_passing(error) or is_passing_in_database(error)


class Connections(Protocol):
    """What the core needs from outside."""

    is_stopping: bool
    is_unanswered: bool
    """Whether Redis has not answered the last commands."""

    def __init__(self, redis_url: str, database_url: str | None) -> None: ...

    async def send(self, commands: list[Command]) -> list[Any]:
        """Send commands to Redis in one round trip; a refused one is answered by its exception.

        The next commands find the new primary if this one has become a replica.
        """
        ...

    async def ask_outbox(self, question: Question[T]) -> T | None:
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
        self.is_stopping = self.is_unanswered = False
        retry = Retry(NoBackoff(), 1, supported_errors=(RedisConnectionError,))
        self._redis = _to_raw(read_redis_url(redis_url).open(**_options(retry)))
        self._outbox = Outbox(database_url) if database_url else None

    async def send(self, commands: list[Command]) -> list[Any]:
        """Send commands to Redis."""
        self.is_unanswered = True
        with self._redis.pipeline(transaction=False) as pipe:
            for command in commands:
                pipe.execute_command(*command)
            replies = pipe.execute(raise_on_error=False)
        self.is_unanswered = False
        if _is_from_replica(replies):
            self._redis.connection_pool.disconnect(inuse_connections=False)
        return replies

    async def ask_outbox(self, question: Question[T]) -> T | None:
        """Ask the outbox."""
        return await self._outbox.ask(question, self) if self._outbox else None

    async def wait_for(self, answer: Future[Any]) -> None:
        """Wait for an answer of the outbox, but only for a moment."""
        wait([answer], timeout=SLICE_SECONDS)

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
    """For asyncio."""

    def __init__(self, redis_url: str, database_url: str | None) -> None:
        self.is_stopping = self.is_unanswered = False
        retry = AsyncRetry(NoBackoff(), 1, supported_errors=(RedisConnectionError,))
        self._redis = _to_raw(read_redis_url(redis_url).open_async(**_options(retry)))
        self._outbox = Outbox(database_url) if database_url else None

    async def send(self, commands: list[Command]) -> list[Any]:
        """Send commands to Redis."""
        self.is_unanswered = True
        async with self._redis.pipeline(transaction=False) as pipe:
            for command in commands:
                pipe.execute_command(*command)
            replies = await pipe.execute(raise_on_error=False)
        self.is_unanswered = False
        if _is_from_replica(replies):
            await self._redis.connection_pool.disconnect(inuse_connections=False)
        return replies

    async def ask_outbox(self, question: Question[T]) -> T | None:
        """Ask the outbox."""
        return await self._outbox.ask(question, self) if self._outbox else None

    async def wait_for(self, answer: Future[Any]) -> None:
        """Wait for an answer of the outbox, but only for a moment."""
        if not answer.done():
            await asyncio.sleep(POLL_SECONDS)

    async def pause(self, seconds: float) -> None:
        """Wait."""
        until = time.monotonic() + seconds
        while not self.is_stopping and (left := until - time.monotonic()) > 0:  # noqa: ASYNC110 - a signal handler may stop it
            await asyncio.sleep(min(left, SLICE_SECONDS))

    async def close(self) -> None:
        """Close all connections."""
        await self._redis.aclose()
        if self._outbox:
            self._outbox.close()


def _options(retry: Any) -> dict[str, Any]:
    """Return a client's options: one more try on another connection, and none after a time-out."""
    limits = {"socket_timeout": ANSWER_SECONDS, "socket_connect_timeout": ANSWER_SECONDS}
    return {"protocol": 2, "retry": retry, **limits}


def _is_from_replica(replies: Iterable[Any]) -> bool:
    return any(isinstance(each, RedisError) and needs_new_connection(each) for each in replies)


def _to_raw(redis: Any) -> Any:
    """Have the client return entries as Redis sends them: a dict for each costs a third."""
    redis.set_response_callback("XREADGROUP", _keep_raw)
    return redis


def _keep_raw(reply: Any, **_options: Any) -> Any:
    return reply
