"""The checks of Redis, of the broker and of the outlet `amqp`: whether they take what is sent."""

from typing import Any

from redis import Redis
from redis.exceptions import NoPermissionError

from publish_worker_client.servers.redis_errors import to_text
from worker.events.amqp import check_amqp
from worker.events.outlet import OutletUnreachable
from worker.operations.checks import Check, to_failed
from worker.runtime.broker_errors import BROKER_ERRORS, explain_broker
from worker.runtime.broker_url import read_broker_url

PROBE = "publish-worker:probe"
PROBE_MS = 1_000
BROKER_SECONDS = 1.0
"""A broker that accepts connections and does not answer for this long counts as dead."""
KEEP_KEYS = "The stream or the queue would be lost: CONFIG SET maxmemory-policy noeviction."
AMQP = "outlet amqp"
AMQP_AWAY = "The exchange cannot be reached."
AMQP_REMEDY = "Check AMQP_URL and the server."


def check_redis(redis: Redis) -> Check:
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


def check_broker(broker_url: str) -> Check:
    """Connect, and log in."""
    limit = BROKER_SECONDS
    quick = {"socket_timeout": limit, "socket_connect_timeout": limit, "max_retries": 1}
    try:
        with read_broker_url(broker_url).connect(quick, connect_timeout=limit) as broker:
            broker.ensure_connection(max_retries=1, interval_start=0, timeout=round(limit))
    except BROKER_ERRORS as error:
        return to_failed("broker", explain_broker(error), to_text(error))
    return Check(name="broker", ok=True, detail="Accepts connections.")


def to_late_broker(seconds: float) -> Check:
    """Return the check of a broker that has not answered for this long."""
    error = TimeoutError(f"no answer within {seconds} s")
    return to_failed("broker", explain_broker(error), str(error))


def check_outlet_amqp(url: str) -> Check:
    """Declare the exchange."""
    try:
        check_amqp(url)
    except OutletUnreachable as error:
        return Check(
            name=AMQP,
            ok=False,
            detail=str(error),
            remedy=AMQP_REMEDY,
            public=AMQP_AWAY,
        )
    return Check(name=AMQP, ok=True, detail="Accepts events.")


def to_late_amqp(seconds: float) -> Check:
    """Return the check of a server that has not answered for this long."""
    detail = f"The broker cannot be used: no answer within {seconds} s."
    return Check(name=AMQP, ok=False, detail=detail, remedy=AMQP_REMEDY, public=AMQP_AWAY)
