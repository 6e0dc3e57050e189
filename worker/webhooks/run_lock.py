"""Turns: one run of deliveries at a time on each Celery worker, so that a process stays free.

Only to be kind to publishing: two runs at once do no harm, as each claims what the other has not.
"""

from collections.abc import Generator
from contextlib import contextmanager, suppress

from redis import Redis
from redis.exceptions import RedisError

TURN = "publish-worker:turn:webhooks"
TURN_MS = 8_000
"""A little more than a run takes. Whoever was killed in one is waited for no longer than this."""


@contextmanager
def turn(redis: Redis, worker: str) -> Generator[bool]:
    """Take this worker's turn, if nobody has it; without Redis everybody has."""
    key = f"{TURN}:{worker}"
    try:
        mine = bool(redis.set(key, 1, nx=True, px=TURN_MS))
    except RedisError:
        mine = True
    try:
        yield mine
    finally:
        if mine:
            with suppress(RedisError):
                redis.delete(key)
