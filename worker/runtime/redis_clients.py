"""Redis clients: one for work, which retries, and one for hints, which gives up at once."""

from collections.abc import Callable
from typing import Any, TypeVar

from redis import Redis
from redis.backoff import ExponentialBackoff, NoBackoff
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import ResponseError
from redis.exceptions import TimeoutError as RedisTimeoutError
from redis.retry import Retry

from worker.runtime.redis_errors import needs_new_connection

HINT_TIMEOUT_SECONDS = 0.25
"""A caller must not notice a dead Redis: the key and the message together take below a second."""

T = TypeVar("T")


class ReconnectingRetry(Retry):
    """redis-py's retries, which also connect again where a server has become a replica.

    The connection to it is alive, so redis-py would keep it for ever. A new one finds the primary,
    through the name or the proxy that the URL has.
    """

    def __init__(self, backoff: Any, retries: int) -> None:
        super().__init__(backoff, retries, (RedisConnectionError, RedisTimeoutError, ResponseError))

    def call_with_retry(
        self,
        do: Callable[[], T],
        fail: Callable[..., Any],
        is_retryable: Callable[[Exception], bool] | None = None,
        with_failure_count: bool = False,
    ) -> T:
        """Call `do`; after an error that a new connection can help against, `fail`, and again."""

        def can_help(error: Exception) -> bool:
            if isinstance(error, ResponseError):
                return needs_new_connection(error)
            return is_retryable is None or is_retryable(error)

        return super().call_with_retry(do, fail, can_help, with_failure_count)


def open_redis(redis_url: str) -> Redis:
    """Return a client for work: 5 s to answer, and one retry. It connects on first use."""
    return Redis.from_url(
        redis_url,
        socket_timeout=5,
        socket_connect_timeout=1,
        retry=ReconnectingRetry(ExponentialBackoff(cap=0.2, base=0.05), 1),
    )


def open_hint_redis(redis_url: str) -> Redis:
    """Return a client for hints: 0.25 s to answer, and no retry. It connects on first use."""
    return Redis.from_url(
        redis_url,
        socket_timeout=HINT_TIMEOUT_SECONDS,
        socket_connect_timeout=HINT_TIMEOUT_SECONDS,
        retry=ReconnectingRetry(NoBackoff(), 0),
    )
