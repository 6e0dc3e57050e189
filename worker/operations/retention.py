"""Retention: delete old rows and entries in bounded steps, except those that are still needed."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta

import structlog
from redis import Redis
from sqlalchemy import Engine

from db.commands import idempotency, inbox
from db.events import outbox
from db.session import Connection, transaction
from db.webhooks import deliveries as webhook_deliveries
from db.webhooks import fan_out
from worker.events.outlet import OutletOutOfSync
from worker.events.outlets import build_outlets
from worker.events.redis_stream import STREAM
from worker.generation.stream import open_group
from worker.runtime.settings import Settings

LIMIT = 5_000
"""Rows that one transaction deletes."""

log: structlog.stdlib.BoundLogger = structlog.stdlib.get_logger(__name__)


@dataclass(frozen=True, kw_only=True)
class Pruned:
    """How much was forgotten."""

    stream: int
    reports: int
    outbox: int
    commands: int
    idempotency_keys: int
    deliveries: int


def prune(engine: Engine, redis: Redis, settings: Settings) -> Pruned:
    """Trim the streams by age, then the outbox, deliveries, finished commands, idempotency keys.

    The stream loses only what is older than its age; the outbox only what is on the stream, or was,
    and is at every endpoint or given up.
    """
    command_age = timedelta(days=settings.command_keep_days)
    pruned = Pruned(
        stream=trim(engine, redis, settings.stream_age()),
        reports=open_group(redis).trim(settings.stream_age()),
        outbox=_prune_outbox(engine, redis, settings),
        # Keys before the commands that they stand for: none may lead nowhere.
        idempotency_keys=_in_steps(
            engine, lambda tx: idempotency.prune(tx, age=command_age, limit=LIMIT)
        ),
        deliveries=_in_steps(
            engine, lambda tx: webhook_deliveries.prune(tx, age=_outbox_age(settings), limit=LIMIT)
        ),
        commands=_in_steps(engine, lambda tx: inbox.prune(tx, age=command_age, limit=LIMIT)),
    )
    log.info("maintenance.pruned", **vars(pruned))
    return pruned


def trim(engine: Engine, redis: Redis, age: timedelta) -> int:
    """Take from the stream what is older than `age`, and nothing younger; return how much."""
    if not redis.exists(STREAM):
        return 0
    with transaction(engine) as tx:
        young = outbox.find_first_young(tx, age)
    return int(redis.xtrim(STREAM, minid=f"{young}-0", approximate=False))


def _prune_outbox(engine: Engine, redis: Redis, settings: Settings) -> int:
    """Forget old events that every outlet has handed on, if each can tell how far it is."""
    try:
        handed_on = min(outlet.position() for outlet in build_outlets(engine, redis, settings))
    except OutletOutOfSync as error:
        log.error("maintenance.outbox_kept", error=str(error))  # noqa: TRY400
        return 0
    with transaction(engine) as tx:
        young = outbox.find_first_young(tx, _outbox_age(settings))
        needed = fan_out.needed_from(tx)
    before = min(young, handed_on + 1, young if needed is None else needed)
    return _in_steps(engine, lambda tx: outbox.prune(tx, before=before, limit=LIMIT))


def _outbox_age(settings: Settings) -> timedelta:
    return timedelta(days=max(settings.outbox_keep_days, settings.stream_keep_days))


def _in_steps(engine: Engine, step: Callable[[Connection], int]) -> int:
    total = 0
    while True:
        with transaction(engine) as tx:
            count = step(tx)
        total += count
        if count < LIMIT:
            return total
