"""Health: whether the whole path is alive, the worker included.

Every `publish.run_due` leaves a heartbeat in Redis, and beat sends one each second. So a fresh
heartbeat shows that beat, the broker and a worker that consumes all work; a process that merely
exists shows nothing. The canary shows that commands are carried out in time (canary.py).
"""

import time
from dataclasses import dataclass

from redis import Redis
from redis.exceptions import RedisError
from sqlalchemy import Engine

from db.commands import claim
from db.errors import DATABASE_ERRORS, describe_error, is_away
from db.revision import find_missing_schema, is_migrated
from db.session import transaction
from db.videos import facts_and_release
from worker.events.amqp import check_amqp
from worker.events.outlet import OutletOutOfSync, OutletUnreachable
from worker.events.redis_stream import check_stream
from worker.operations import canary
from worker.runtime.broker_errors import BROKER_ERRORS, explain_broker_error
from worker.runtime.broker_url import read_broker_url
from worker.runtime.redis_errors import to_text
from worker.runtime.wake_ups import Waker

HEARTBEAT = "publish-worker:heartbeat"
HEARTBEAT_SECONDS = 60
HEARTBEAT_PAUSE_SECONDS = 0.9
"""Between two of one process: less than between two sweeps."""
QUICK = {"socket_timeout": 1.0, "socket_connect_timeout": 1.0, "max_retries": 1}
"""A broker that accepts connections and does not answer counts as dead."""
STALE_SECONDS = 10.0
"""Beat sweeps each second, and a batch takes less: after ten seconds something is wrong."""
LATE_SECONDS = 30.0
"""A command that was due for so long and is not claimed: more become due than are carried out."""


@dataclass(frozen=True, kw_only=True)
class Check:
    """One part of the path: whether it works, and what was seen."""

    name: str
    ok: bool
    detail: str
    error: str | None = None
    """What the part answered, for the operator alone."""
    is_away: bool = False
    """Whether it is unreachable, so that nothing else asks it."""


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
    """Check every part of the path; takes a few seconds at most when parts are dead.

    `amqp_url`: of the outlet `amqp`, if there is one.
    """
    database = _check_database(engine)
    return [
        database,
        _check_redis(redis),
        _check_broker(broker_url),
        _check_worker(redis),
        *(
            [_to_unknown("schedule"), _to_unknown("inbox"), _to_unknown("stream")]
            if database.is_away
            else [
                _check_schedule(engine, canary_video_id),
                _check_inbox(engine),
                _check_stream(engine, redis),
            ]
        ),
        *([_check_amqp(amqp_url)] if amqp_url else []),
    ]


def _check_database(engine: Engine) -> Check:
    try:
        if not is_migrated(engine):
            return Check(
                name="database", ok=False, detail="Not migrated: run `publish-worker migrate`."
            )
        with transaction(engine) as tx:
            claim.claim_due(tx, 0)  # takes nothing, and needs every right that a claim needs
            facts_and_release.read_facts(tx, [])
            missing = find_missing_schema(tx)
    except DATABASE_ERRORS as error:
        return _to_failed("database", error)
    if missing:
        detail = f"The schema {missing} does not exist: check PLATFORM_SCHEMA."
        return Check(name="database", ok=False, detail=detail)
    return Check(name="database", ok=True, detail="Answers, and is migrated.")


def _check_redis(redis: Redis) -> Check:
    try:
        redis.ping()
    except RedisError as error:
        detail = type(error).__name__
        return Check(name="redis", ok=False, detail=detail, error=to_text(error))
    return Check(name="redis", ok=True, detail="Answers.")


def _check_broker(broker_url: str) -> Check:
    try:
        with read_broker_url(broker_url).connect(QUICK, connect_timeout=1) as broker:
            broker.ensure_connection(max_retries=1, interval_start=0, timeout=1)
    except BROKER_ERRORS as error:
        return Check(name="broker", ok=False, detail=explain_broker_error(error))
    return Check(name="broker", ok=True, detail="Accepts connections.")


def _to_failed(name: str, error: Exception) -> Check:
    detail, text = type(error).__name__, describe_error(error)
    return Check(name=name, ok=False, detail=detail, error=text, is_away=is_away(error))


def _to_unknown(name: str) -> Check:
    return Check(name=name, ok=False, detail="Unknown: the database cannot be read.")


def _check_worker(redis: Redis) -> Check:
    try:
        seen = redis.get(HEARTBEAT)
    except RedisError:
        return Check(name="worker", ok=False, detail="Unknown: Redis does not answer.")
    if seen is None:
        detail = "No worker has run a sweep in the last minute: is the worker or beat down?"
        return Check(name="worker", ok=False, detail=detail)
    age = time.time() - float(seen)
    if age > STALE_SECONDS:
        detail = f"The last sweep ran {age:.0f} s ago: is the worker or beat down?"
        return Check(name="worker", ok=False, detail=detail)
    return Check(name="worker", ok=True, detail=f"Ran a sweep {max(age, 0):.1f} s ago.")


def _check_schedule(engine: Engine, canary_video_id: int | None) -> Check:
    try:
        ok, detail = canary.check_canary(engine, canary_video_id)
    except DATABASE_ERRORS:
        return _to_unknown("schedule")
    return Check(name="schedule", ok=ok, detail=detail)


def _check_inbox(engine: Engine) -> Check:
    try:
        with transaction(engine) as tx:
            seconds = claim.read_lateness(tx)
    except DATABASE_ERRORS:
        return _to_unknown("inbox")
    detail = f"The oldest due command has waited for {seconds:.1f} s."
    return Check(name="inbox", ok=seconds <= LATE_SECONDS, detail=detail)


def _check_stream(engine: Engine, redis: Redis) -> Check:
    try:
        check_stream(engine, redis)
    except OutletOutOfSync as error:
        return Check(name="stream", ok=False, detail=str(error))
    except (RedisError, *DATABASE_ERRORS):
        return Check(name="stream", ok=False, detail="Unknown: Redis or the database is down.")
    return Check(name="stream", ok=True, detail="Fits the outbox.")


def _check_amqp(url: str) -> Check:
    try:
        check_amqp(url)
    except OutletUnreachable as error:
        return Check(name="outlet amqp", ok=False, detail=str(error))
    return Check(name="outlet amqp", ok=True, detail="Accepts events.")
