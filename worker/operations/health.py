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

from redis import Redis
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import RedisError
from redis.exceptions import TimeoutError as RedisTimeoutError
from sqlalchemy import Engine

from db import processes
from db.commands import claim
from db.errors import DATABASE_ERRORS, NoAnswer, is_away
from db.events import outbox
from db.processes import SeenProcess
from db.session import brief_transaction
from publish_worker_client.servers.database_errors import describe_error
from publish_worker_client.servers.redis_errors import to_text
from worker.events.outlet import OutletOutOfSync
from worker.events.redis_stream import check_stream
from worker.operations import canary
from worker.operations.checks import Check, to_failed
from worker.operations.database_check import check_database
from worker.operations.deadline import Deadline
from worker.operations.process_checks import check_beat, check_queues, check_worker
from worker.operations.server_checks import (
    check_broker,
    check_outlet_amqp,
    check_redis,
    to_late_amqp,
    to_late_broker,
)
from worker.runtime.explanations import explain_database
from worker.runtime.redis_explanations import explain_redis
from worker.runtime.wake_ups import Waker

HEARTBEAT = "publish-worker:heartbeat"
HEARTBEAT_SECONDS = 60
HEARTBEAT_PAUSE_SECONDS = 0.9
"""Between two of one process: less than between two sweeps."""
ANSWER_SECONDS = 2.5
"""All checks together take this long at most: many probes give up after three seconds."""
LATE_SECONDS = 30.0
"""A command that was due for so long and is not claimed: more become due than are carried out. And
an event that was recorded so long ago and is not on the stream: the relay stands still."""


@dataclass(frozen=True, kw_only=True)
class Health:
    """Every check, and every process that is alive or went within the last hour."""

    checks: list[Check]
    processes: list[SeenProcess] | None
    """None: the database cannot be read."""

    def is_away(self, name: str) -> bool:
        """Whether the part of this name is unreachable, so that nothing else should ask it."""
        return any(each.is_away for each in self.checks if each.name == name)


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
    """Check every part of the path; a part that hangs fails after `ANSWER_SECONDS`.

    A dozen statements that read a few rows each. `amqp_url`: of the outlet `amqp`, if there is one.
    """
    deadline = Deadline(ANSWER_SECONDS)
    wait_for_redis = deadline.start(lambda: _read_redis(redis))
    wait_for_broker = deadline.start(lambda: check_broker(broker_url))
    wait_for_amqp = deadline.start(lambda: check_outlet_amqp(amqp_url)) if amqp_url else None
    database = deadline.start(lambda: check_database(engine))(_to_late_database())

    def start(name: str, check: Callable[[], Check]) -> Callable[[Check], Check]:
        if database.is_away:  # nothing else asks it
            return lambda _: _to_unknown(name)
        return deadline.start(lambda: _explained(name, check))

    wait_for_seen = None if database.is_away else deadline.start(lambda: _read_processes(engine))
    wait_for_database = [
        (name, start(name, check))
        for name, check in (
            ("schedule", lambda: _check_schedule(engine, canary_video_id)),
            ("inbox", lambda: _check_inbox(engine)),
            ("stream", lambda: _check_stream(engine, redis)),
        )
    ]
    seen = wait_for_seen(None) if wait_for_seen else None
    of_redis, sweep_age = wait_for_redis(_to_late_redis())
    checks = [
        database,
        of_redis,
        wait_for_broker(to_late_broker(ANSWER_SECONDS)),
        check_worker(sweep_age, seen),
        _to_unknown("queues") if database.is_away else check_queues(seen),
        _to_unknown("beat") if database.is_away else check_beat(seen),
        *(wait(_to_late(name)) for name, wait in wait_for_database),
        *([wait_for_amqp(to_late_amqp(ANSWER_SECONDS))] if wait_for_amqp else []),
    ]
    return Health(checks=checks, processes=seen)


def _read_redis(redis: Redis) -> tuple[Check, float | RedisError | None]:
    """Return the check of Redis, and how long ago the last sweep was."""
    return _explained("redis", lambda: check_redis(redis)), _try_sweep_age(redis)


def _to_late_redis() -> tuple[Check, RedisError]:
    """Return the same of a Redis that hangs."""
    error = RedisTimeoutError(f"no answer within {ANSWER_SECONDS} s")
    return to_failed("redis", explain_redis(error), to_text(error), is_away=True), error


def _to_late_database() -> Check:
    """Return the check of a database that hangs."""
    error = NoAnswer(f"none within {ANSWER_SECONDS} s")
    return to_failed("database", explain_database(error), describe_error(error), is_away=True)


def _explained(name: str, check: Callable[[], Check]) -> Check:
    """Run a check; an error of the database or Redis is its result."""
    try:
        return check()
    except RedisError as error:
        is_lost = isinstance(error, RedisConnectionError | RedisTimeoutError)
        return to_failed(name, explain_redis(error), to_text(error), is_away=is_lost)
    except DATABASE_ERRORS as error:
        return to_failed(
            name, explain_database(error), describe_error(error), is_away=is_away(error)
        )


def _to_unknown(name: str) -> Check:
    detail = "Unknown: the database cannot be read."
    return Check(name=name, ok=False, detail=detail, remedy="See the check `database`.")


def _to_late(name: str) -> Check:
    detail = f"Unknown: not read within {ANSWER_SECONDS} s."
    return Check(
        name=name, ok=False, detail=detail, remedy="See the checks `database` and `redis`."
    )


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
        remedy = "Follow 'Restore' in docs/backup.md."
        return Check(name="stream", ok=False, detail=str(error), remedy=remedy)
    with brief_transaction(engine) as tx:
        waiting = outbox.read_age_after(tx, end.position)
    if waiting is not None and waiting > LATE_SECONDS:
        detail = f"The next event has waited for the relay for {waiting:.0f} s."
        remedy = "See the checks `redis` and `worker`, and `relay.` in the workers' log."
        return Check(name="stream", ok=False, detail=detail, remedy=remedy)
    return Check(name="stream", ok=True, detail="Fits the outbox, and has its events.")
