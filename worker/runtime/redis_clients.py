"""Redis clients: one for work, which retries, and one for hints, which gives up at once."""

from redis import Redis
from redis.backoff import ExponentialBackoff, NoBackoff
from redis.retry import Retry

HINT_TIMEOUT_SECONDS = 0.25
"""A caller must not notice a dead Redis: the key and the message together take below a second."""


def open_redis(redis_url: str) -> Redis:
    """Return a client for work: 5 s to answer, and one retry. It connects on first use."""
    return Redis.from_url(
        redis_url,
        socket_timeout=5,
        socket_connect_timeout=1,
        retry=Retry(ExponentialBackoff(cap=0.2, base=0.05), 1),
    )


def open_hint_redis(redis_url: str) -> Redis:
    """Return a client for hints: 0.25 s to answer, and no retry. It connects on first use."""
    return Redis.from_url(
        redis_url,
        socket_timeout=HINT_TIMEOUT_SECONDS,
        socket_connect_timeout=HINT_TIMEOUT_SECONDS,
        retry=Retry(NoBackoff(), 0),
    )
