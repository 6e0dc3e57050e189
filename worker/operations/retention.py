"""Retention: delete old rows and stream entries, in bounded steps, once nothing needs them."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta

import structlog
from redis import Redis
from sqlalchemy import Engine

from db import audit_log, console_sessions, processes
from db.commands import attempts, idempotency, inbox
from db.events import outbox, summary
from db.session import Connection, transaction
from db.webhooks import deliveries as webhook_deliveries
from db.webhooks import fan_out
from publish_worker_client.events.stream_entries import STREAM
from worker.events.outlet import OutletOutOfSync
from worker.events.outlets import build_outlets
from worker.generation.stream import open_group
from worker.operations.console_sessions import IDLE
from worker.runtime.settings import Settings

LIMIT = 5_000
"""Rows that one transaction deletes."""

log: structlog.stdlib.BoundLogger = structlog.stdlib.get_logger(__name__)


@dataclass(frozen=True, kw_only=True)
class PruneResult:
    """How many rows and entries were deleted."""

    stream: int
    reports: int
    outbox: int
    failed_attempts: int
    """At commands."""
    commands: int
    idempotency_keys: int
    deliveries: int
    audit_entries: int
    console_sessions: int
    """And sign-in codes that were not used in time."""
    processes: int
    counts_of_events: int


def prune(engine: Engine, redis: Redis, settings: Settings) -> PruneResult:
    """Trim the streams by age, then the outbox, deliveries, finished commands, idempotency keys,
    the audit log and console sessions.

    The outbox keeps events that an outlet has not relayed or an endpoint still waits for.
    """
    command_age = timedelta(days=settings.command_keep_days)
    audit_age = timedelta(days=settings.audit_keep_days)
    pruned = PruneResult(
        stream=trim(engine, redis, settings.stream_age()),
        reports=open_group(redis).trim(settings.stream_age()),
        outbox=_prune_outbox(engine, redis, settings),
        # Keys before their commands: a key must not refer to a deleted command.
        idempotency_keys=_in_steps(
            engine, lambda tx: idempotency.prune(tx, age=command_age, limit=LIMIT)
        ),
        deliveries=_in_steps(
            engine, lambda tx: webhook_deliveries.prune(tx, age=_outbox_age(settings), limit=LIMIT)
        ),
        processes=_in_steps(engine, lambda tx: processes.prune(tx, limit=LIMIT)),
        failed_attempts=_in_steps(
            engine, lambda tx: attempts.prune(tx, age=command_age, limit=LIMIT)
        ),
        commands=_in_steps(engine, lambda tx: inbox.prune(tx, age=command_age, limit=LIMIT)),
        audit_entries=_in_steps(engine, lambda tx: audit_log.prune(tx, age=audit_age, limit=LIMIT)),
        console_sessions=_prune_sessions(engine),
        counts_of_events=_in_steps(engine, lambda tx: summary.prune(tx, limit=LIMIT)),
    )
    log.info("retention.pruned", **vars(pruned))
    return pruned


def trim(engine: Engine, redis: Redis, age: timedelta) -> int:
    """Remove the stream's entries that are older than `age`; return their number."""
    if not redis.exists(STREAM):
        return 0
    with transaction(engine) as tx:
        young = outbox.find_first_young(tx, age)
    return int(redis.xtrim(STREAM, minid=f"{young}-0", approximate=False))


def _prune_outbox(engine: Engine, redis: Redis, settings: Settings) -> int:
    """Delete old events that every outlet has relayed and no endpoint needs; none if unknown."""
    try:
        relayed = min(outlet.position() for outlet in build_outlets(engine, redis, settings))
    except OutletOutOfSync as error:
        log.error("retention.outbox_kept", error=str(error))  # noqa: TRY400
        return 0
    with transaction(engine) as tx:
        young = outbox.find_first_young(tx, _outbox_age(settings))
        needed = fan_out.read_needed_position(tx)
    before = min(young, relayed + 1, young if needed is None else needed)
    return _in_steps(engine, lambda tx: outbox.prune(tx, before=before, limit=LIMIT))


def _prune_sessions(engine: Engine) -> int:
    with transaction(engine) as tx:
        return console_sessions.prune(tx, idle=IDLE)


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
