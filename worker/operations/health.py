"""Health: one list of explained checks of the whole path, the processes included.

Every `publish.run_due` leaves a heartbeat in Redis, and beat sends one each second. So a fresh
heartbeat shows that beat, the broker and a worker that consumes all work; a process that merely
exists shows nothing. The canary shows that commands are carried out in time (canary.py). The rows
of processes (processes.py) show which one is missing.

`/readyz`, `publish-worker status` and the console show the same checks.
"""

import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from redis import Redis
from redis.exceptions import NoPermissionError, RedisError
from sqlalchemy import Engine

from db import processes
from db.commands import claim
from db.errors import DATABASE_ERRORS, describe_error, is_away
from db.events import outbox
from db.processes import SeenProcess
from db.session import brief_transaction
from worker.events.amqp import check_amqp
from worker.events.outlet import OutletOutOfSync, OutletUnreachable
from worker.events.redis_stream import check_stream
from worker.operations import canary
from worker.operations.checks import Check, to_failed
from worker.operations.database_check import check_database
from worker.operations.process_checks import check_beat, check_queues, check_worker
from worker.runtime.broker_errors import BROKER_ERRORS, explain_broker
from worker.runtime.broker_url import read_broker_url
from worker.runtime.explanations import explain_database, explain_redis
from worker.runtime.redis_errors import to_text
from worker.runtime.wake_ups import Waker

HEARTBEAT = "publish-worker:heartbeat"
HEARTBEAT_SECONDS = 60
HEARTBEAT_PAUSE_SECONDS = 0.9
"""Between two of one process: less than between two sweeps."""
PROBE = "publish-worker:probe"
PROBE_MS = 1_000
QUICK = {"socket_timeout": 1.0, "socket_connect_timeout": 1.0, "max_retries": 1}
"""A broker that accepts connections and does not answer counts as dead."""
KEEP_KEYS = "The stream or the queue would be lost: CONFIG SET maxmemory-policy noeviction."
LATE_SECONDS = 30.0
"""A command that was due for so long and is not claimed: more become due than are carried out. And
an event that was recorded so long ago and is not on the stream: the relay stands still."""


@dataclass(frozen=True, kw_only=True)
class Health:
    """Every check, and every process that is alive or went within the last hour."""

    checks: list[Check]
    processes: list[SeenProcess] | None
    """None: the database cannot be read."""


class Heartbeat:
    """Records in Redis that this process, a worker's, is consuming."""

    def __init__(self, waker: Waker) -> None:
        self._waker = waker
        self._left_at = float("-inf")

    def leave(self) -> None:
        """Leave a heartbeat, once a second. An unreachable Redis is logged, not raised."""
        now = time.monotonic()
        if now - self._left_at < HEARTBEAT_PAUSE_SECONDS:
            return
        self._left_at = now
        try:
            self._waker.redis.set(HEARTBEAT, f"{time.time():.3f}", ex=HEARTBEAT_SECONDS)
        except RedisError as error:
            self._waker.outage.note(error)


def examine(
    engine: Engine,
    redis: Redis,
    broker_url: str,
    canary_video_id: int | None = None,
    *,
    amqp_url: str | None = None,
) -> list[Check]:
    """Return the checks of `read_health` alone."""
    return read_health(engine, redis, broker_url, canary_video_id, amqp_url=amqp_url).checks


def read_health(
    engine: Engine,
    redis: Redis,
    broker_url: str,
    canary_video_id: int | None = None,
    *,
    amqp_url: str | None = None,
) -> Health:
    """Check every part of the path; takes a few seconds at most when parts are dead.

    A dozen statements that read a few rows each. `amqp_url`: of the outlet `amqp`, if there is one.
    """
    database = check_database(engine)
    seen = None if database.is_away else _read_processes(engine)

    def check_in_database(name: str, check: Callable[[], Check]) -> Check:
        return _to_unknown(name) if database.is_away else _explained(name, check)

    checks = [
        database,
        _explained("redis", lambda: _check_redis(redis)),
        _check_broker(broker_url),
        check_worker(_try_sweep_age(redis), seen),
        check_in_database("queues", lambda: check_queues(seen)),
        check_in_database("beat", lambda: check_beat(seen)),
        check_in_database("schedule", lambda: _check_schedule(engine, canary_video_id)),
        check_in_database("inbox", lambda: _check_inbox(engine)),
        check_in_database("stream", lambda: _check_stream(engine, redis)),
        *([_check_amqp(amqp_url)] if amqp_url else []),
    ]
    return Health(checks=checks, processes=seen)


def _explained(name: str, check: Callable[[], Check]) -> Check:
    """Run a check; an error of the database or Redis is its result."""
    try:
        return check()
    except RedisError as error:
        return to_failed(name, explain_redis(error), to_text(error))
    except DATABASE_ERRORS as error:
        return to_failed(
            name, explain_database(error), describe_error(error), is_away=is_away(error)
        )


def _to_unknown(name: str) -> Check:
    detail = "Unknown: the database cannot be read."
    return Check(name=name, ok=False, detail=detail, remedy="See the check `database`.")


def _read_processes(engine: Engine) -> list[SeenProcess] | None:
    with suppress(*DATABASE_ERRORS), brief_transaction(engine) as tx:
        return processes.read(tx)
    return None


def read_sweep_age(redis: Redis) -> float | None:
    """Return how long ago a worker ran the last sweep; None: not in the last minute.

    By Redis's clock, which has counted down since then: those of the hosts may differ. Raises
    RedisError.
    """
    left_ms: int = redis.pttl(HEARTBEAT)
    return None if left_ms < 0 else HEARTBEAT_SECONDS - left_ms / 1000


def _try_sweep_age(redis: Redis) -> float | RedisError | None:
    try:
        return read_sweep_age(redis)
    except RedisError as error:
        return error


def _check_redis(redis: Redis) -> Check:
    """Write a key: a server that is full, read-only or refuses the user answers a ping."""
    redis.set(PROBE, 1, px=PROBE_MS)
    policy = _read_eviction_policy(redis)
    if policy.startswith("allkeys-"):
        detail = f"It drops keys when its memory is full (maxmemory-policy {policy})."
        return Check(name="redis", ok=False, detail=detail, remedy=KEEP_KEYS)
    return Check(name="redis", ok=True, detail="Accepts writes.")


def _read_eviction_policy(redis: Redis) -> str:
    """Return how the server makes room; empty: it has no limit, or our user may not read it."""
    try:
        memory: dict[str, Any] = redis.info("memory")
    except NoPermissionError:
        return ""
    return str(memory.get("maxmemory_policy", "")) if memory.get("maxmemory") else ""


def _check_broker(broker_url: str) -> Check:
    try:
        with read_broker_url(broker_url).connect(QUICK, connect_timeout=1) as broker:
            broker.ensure_connection(max_retries=1, interval_start=0, timeout=1)
    except BROKER_ERRORS as error:
        return to_failed("broker", explain_broker(error), to_text(error))
    return Check(name="broker", ok=True, detail="Accepts connections.")


def _check_schedule(engine: Engine, canary_video_id: int | None) -> Check:
    ok, detail = canary.check_canary(engine, canary_video_id)
    remedy = "" if ok else "See the checks `worker` and `beat`, and the workers' log."
    return Check(name="schedule", ok=ok, detail=detail, remedy=remedy)


def _check_inbox(engine: Engine) -> Check:
    with brief_transaction(engine) as tx:
        seconds = claim.read_lateness(tx)
    ok = seconds <= LATE_SECONDS
    detail = f"The oldest due command has waited for {seconds:.1f} s."
    remedy = "" if ok else "Start more workers (--concurrency), and look at the database's load."
    return Check(name="inbox", ok=ok, detail=detail, remedy=remedy)


def _check_stream(engine: Engine, redis: Redis) -> Check:
    try:
        end = check_stream(engine, redis)
    except OutletOutOfSync as error:
        remedy = "Follow 'Restoring PostgreSQL' in docs/operations.md."
        return Check(name="stream", ok=False, detail=str(error), remedy=remedy)
    with brief_transaction(engine) as tx:
        waiting = outbox.read_age_after(tx, end.position)
    if waiting is not None and waiting > LATE_SECONDS:
        detail = f"The next event has waited for the relay for {waiting:.0f} s."
        remedy = "See the checks `redis` and `worker`, and `relay.` in the workers' log."
        return Check(name="stream", ok=False, detail=detail, remedy=remedy)
    return Check(name="stream", ok=True, detail="Fits the outbox, and has its events.")


def _check_amqp(url: str) -> Check:
    name = "outlet amqp"
    try:
        check_amqp(url)
    except OutletUnreachable as error:
        return Check(
            name=name,
            ok=False,
            detail=str(error),
            remedy="Check AMQP_URL and the server.",
            public="The exchange cannot be reached.",
        )
    return Check(name=name, ok=True, detail="Accepts events.")
