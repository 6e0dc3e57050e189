"""Maintenance: forget what is old, in bounded steps, and nothing that somebody still needs."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta

import structlog
from redis import Redis
from sqlalchemy import Engine

from db import idempotency, inbox, outbox
from db.session import Connection, transaction
from worker.relay import STREAM, tip
from worker.settings import Settings

LIMIT = 5_000
"""Rows that one transaction deletes."""

log: structlog.stdlib.BoundLogger = structlog.stdlib.get_logger(__name__)


@dataclass(frozen=True, kw_only=True)
class Pruned:
    """How much was forgotten."""

    stream: int
    outbox: int
    commands: int
    idempotency_keys: int


def prune(engine: Engine, redis: Redis, settings: Settings) -> Pruned:
    """Trim the stream by age, then the outbox, finished commands and idempotency keys.

    The stream loses only what is older than its age; the outbox only what is on the stream, or was.
    """
    relayed = tip(redis).position
    outbox_age = timedelta(days=max(settings.outbox_keep_days, settings.stream_keep_days))
    command_age = timedelta(days=settings.command_keep_days)
    pruned = Pruned(
        stream=trim(engine, redis, settings.stream_age()),
        outbox=_in_steps(
            engine,
            lambda tx: outbox.prune(tx, age=outbox_age, relayed=relayed, limit=LIMIT),
        ),
        # Keys before the commands that they stand for: none may lead nowhere.
        idempotency_keys=_in_steps(
            engine, lambda tx: idempotency.prune(tx, age=command_age, limit=LIMIT)
        ),
        commands=_in_steps(engine, lambda tx: inbox.prune(tx, age=command_age, limit=LIMIT)),
    )
    log.info("maintenance.pruned", **vars(pruned))
    return pruned


def trim(engine: Engine, redis: Redis, age: timedelta) -> int:
    """Take from the stream what is older than `age`, and nothing younger; return how much."""
    with transaction(engine) as tx:
        old = outbox.older_than(tx, age)
    if old is None:
        return 0
    return int(redis.xtrim(STREAM, minid=f"{old + 1}-0", approximate=False))


def _in_steps(engine: Engine, step: Callable[[Connection], int]) -> int:
    total = 0
    while True:
        with transaction(engine) as tx:
            count = step(tx)
        total += count
        if count < LIMIT:
            return total
