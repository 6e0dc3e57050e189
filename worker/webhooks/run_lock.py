"""A lock in Redis: one run of deliveries at a time on each Celery worker.

It keeps a process of the worker free for publishing. Two runs at once do no harm, because each
claims other deliveries.
"""

from collections.abc import Generator
from contextlib import contextmanager, suppress

from redis import Redis
from redis.exceptions import RedisError

RUN_LOCK = "publish-worker:run-lock:webhooks"
RUN_LOCK_MS = 8_000
"""Milliseconds until the lock of a killed process expires; a little longer than a run."""


@contextmanager
def acquire_run_lock(redis: Redis, worker: str) -> Generator[bool]:
    """Acquire the lock of the worker named `worker`; yield whether this process has it.

    While Redis is unreachable, every process has it.
    """
    key = f"{RUN_LOCK}:{worker}"
    try:
        acquired = bool(redis.set(key, 1, nx=True, px=RUN_LOCK_MS))
    except RedisError:
        acquired = True
    try:
        yield acquired
    finally:
        if acquired:
            with suppress(RedisError):
                redis.delete(key)
