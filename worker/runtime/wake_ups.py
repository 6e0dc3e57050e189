"""Wake-ups: tell Celery that there may be work. Coalesced, and never more than a hint.

A Redis key, set only if it is not there and soon gone by itself, marks a wake-up on its way; the
task deletes it before it claims. So a thousand enqueues cost a handful of Celery messages.
Whoever finds Redis down goes on: the sweep wakes Celery once Redis is back.
"""

from collections.abc import Callable
from dataclasses import dataclass

import structlog
from kombu.exceptions import OperationalError as BrokerError
from redis import Redis
from redis.backoff import ExponentialBackoff, NoBackoff
from redis.exceptions import RedisError
from redis.retry import Retry

MARK = "publish-worker:wake"
REPORTS_MARK = "publish-worker:wake:reports"
FAN_OUT_MARK = "publish-worker:wake:webhooks"
DELIVERIES_MARK = "publish-worker:wake:deliveries"
MARK_MS = 1_000
"""A lost wake-up delays work by no more than this, or the next sweep."""
TIMEOUT_SECONDS = 0.25
"""A caller must not notice a dead Redis: the mark and the message together stay below a second."""

log: structlog.stdlib.BoundLogger = structlog.stdlib.get_logger(__name__)


def impatient(redis_url: str) -> Redis:
    """A client that gives up at once: for hints, where the caller has better things to do."""
    return Redis.from_url(
        redis_url,
        socket_timeout=TIMEOUT_SECONDS,
        socket_connect_timeout=TIMEOUT_SECONDS,
        retry=Retry(NoBackoff(), 0),
    )


def patient(redis_url: str) -> Redis:
    """A client for work that can wait a little: one more try, and seconds to answer."""
    return Redis.from_url(
        redis_url,
        socket_timeout=5,
        socket_connect_timeout=1,
        retry=Retry(ExponentialBackoff(cap=0.2, base=0.05), 1),
    )


@dataclass(frozen=True, kw_only=True)
class Waker:
    """Wakes Celery through `send`, at most once until the wake-up has arrived."""

    redis: Redis
    send: Callable[[], None]
    """Sends the Celery message `publish.run_due`, or another one under another mark."""
    mark: str = MARK

    def wake(self) -> None:
        """Say that there may be work, unless that has just been said."""
        try:
            if self.redis.set(self.mark, 1, nx=True, px=MARK_MS):
                self.send()
        except (RedisError, BrokerError, OSError) as error:
            log.warning("wake.not_sent", error=str(error), consequence="the sweep will wake Celery")

    def arrived(self) -> None:
        """Forget the mark, before looking for work: what comes in from now on wakes again."""
        try:
            self.redis.delete(self.mark)
        except RedisError as error:
            log.warning("wake.mark_kept", error=str(error), consequence="it expires by itself")
