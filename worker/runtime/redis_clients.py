"""Redis clients: one for work, which retries, and one for hints, which gives up at once.

Both notice a Redis that accepts connections and does not answer, and then wait for it no more.
"""

import time
from typing import Any, Self

from redis import Redis
from redis.backoff import ExponentialBackoff, NoBackoff
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import MasterDownError, ReadOnlyError
from redis.exceptions import TimeoutError as RedisTimeoutError
from redis.retry import Retry

from publish_worker_client.servers.redis_url import read_redis_url

HINT_TIMEOUT_SECONDS = 0.25
"""A caller must not notice a dead Redis: the key and the message together take below a second."""
RETRIED = (RedisConnectionError, ReadOnlyError, MasterDownError)
"""Errors after which another connection is opened: it finds the primary."""
PAUSE_SECONDS = 1.0
"""How long commands fail at once after a time-out, before Redis is asked again."""


class Silence:
    """Whether one Redis does not answer; shared by the clients of a process."""

    def __init__(self, redis_url: str) -> None:
        self._probe = read_redis_url(redis_url).open(Redis, **_quick())
        self._until: float | None = None
        self.clients: list[Redis] = []

    def begin(self) -> None:
        """Note a time-out."""
        self._until = time.monotonic() + PAUSE_SECONDS

    def check(self) -> None:
        """Raise RedisTimeoutError while Redis does not answer. It is asked once in a while."""
        if self._until is None:
            return
        if time.monotonic() < self._until:
            raise RedisTimeoutError("Redis did not answer; it is asked again within a second")
        self.begin()  # other threads do not ask meanwhile
        self._probe.ping()
        self._until = None
        for client in self.clients:  # idle connections may be to a primary that was replaced
            client.connection_pool.disconnect(inuse_connections=False)


class PromptRedis(Redis):
    """A client whose caller waits for a Redis that does not answer only once."""

    silence: Silence

    @classmethod
    def open(cls, redis_url: str, silence: Silence | None, **options: Any) -> Self:
        """Return a client that shares `silence`; None: it has its own."""
        client = read_redis_url(redis_url).open(cls, **options)
        client.silence = silence or Silence(redis_url)
        client.silence.clients.append(client)
        return client

    def execute_command(self, *args: Any, **options: Any) -> Any:
        """Execute a command. Raises RedisTimeoutError at once while Redis does not answer."""
        self.silence.check()
        try:
            base: Any = super()
            return base.execute_command(*args, **options)
        except RedisTimeoutError:
            self.silence.begin()
            raise


def open_redis(redis_url: str, silence: Silence | None = None) -> Redis:
    """Return a client for work: 5 s to answer, and one retry on another connection if the first was
    lost or its server has become a replica. It connects on first use.
    """
    return PromptRedis.open(
        redis_url,
        silence,
        socket_timeout=5,
        socket_connect_timeout=1,
        retry=Retry(ExponentialBackoff(cap=0.2, base=0.05), 1, supported_errors=RETRIED),
    )


def open_hint_redis(redis_url: str, silence: Silence | None = None) -> Redis:
    """Return a client for hints: 0.25 s to answer, and no retry. It connects on first use."""
    return PromptRedis.open(redis_url, silence, **_quick())


def _quick() -> dict[str, Any]:
    timeout = HINT_TIMEOUT_SECONDS
    retry = Retry(NoBackoff(), 0, supported_errors=RETRIED)
    return {"socket_timeout": timeout, "socket_connect_timeout": timeout, "retry": retry}
