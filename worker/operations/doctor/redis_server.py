"""Findings on the Redis server: version, role, memory, persistence, clock, Celery's keys."""

from collections.abc import Iterator
from typing import Any

from redis import Redis
from redis.exceptions import NoPermissionError

from worker.operations.doctor.clocks import assess_skew, measure_skew
from worker.operations.doctor.findings import Finding, error, ok, warning
from worker.operations.server_checks import KEEP_KEYS
from worker.runtime.producer import QUEUES, TRANSPORT_OPTIONS
from worker.runtime.wake_ups import BROKER_PREFIX

OLDEST = {"Redis": 7, "Valkey": 8}
NOT_READ = "Its version, memory and persistence are unknown: our user may not call INFO."
ALLOW_INFO = "For these checks alone: ACL SETUSER publish-worker +info."
PERSIST = (
    "CONFIG SET appendonly yes, and in its configuration file: else a restart loses messages of "
    "`publish.enqueue` that no worker has read. The stream is written again from the outbox."
)


def examine_redis(redis: Redis, *, is_broker: bool) -> list[Finding]:
    """Return the findings. Raises RedisError."""
    skew, _ = measure_skew(lambda: (_read_clock(redis), None))
    try:
        facts: dict[str, Any] = redis.info()
    except NoPermissionError:
        assessed = [warning("redis server", NOT_READ, ALLOW_INFO)]
    else:
        assessed = list(assess_redis(facts))
    stray = _find_stray(redis) if is_broker else []
    return [*assessed, assess_skew("Redis", skew), *stray]


def assess_redis(facts: dict[str, Any]) -> Iterator[Finding]:
    """Yield the findings on what INFO says."""
    name = "redis server"
    product = "Valkey" if "valkey_version" in facts else "Redis"
    version = str(facts.get("valkey_version") or facts.get("redis_version") or "0")
    if int(version.partition(".")[0]) < OLDEST[product]:
        remedy = "Upgrade the server to Redis 7 or Valkey 8, or newer."
        yield error(name, f"{product} {version} is too old.", remedy)
    elif facts.get("role") != "master":
        primary = f"{facts.get('master_host')}:{facts.get('master_port')}"
        detail = f"{product} {version} is a replica of {primary}, and may not be written to."
        yield error(name, detail, "Let REDIS_URL name the primary, or the sentinels.")
    else:
        yield ok(name, f"{product} {version}, a primary.")
    yield _assess_memory(facts)
    yield _assess_persistence(facts)


def _assess_memory(facts: dict[str, Any]) -> Finding:
    policy, limit = str(facts.get("maxmemory_policy", "unknown")), int(facts.get("maxmemory", 0))
    size = f"{limit / 2**20:,.0f} MiB" if limit else "no limit"
    detail = f"maxmemory-policy {policy}, maxmemory: {size}."
    if not policy.startswith("allkeys-"):
        return ok("eviction", detail)
    lost = f"{detail} It drops any key when its memory is full."
    return (error if limit else warning)("eviction", lost, KEEP_KEYS)


def _assess_persistence(facts: dict[str, Any]) -> Finding:
    name = "persistence"
    if not facts.get("aof_enabled"):
        return warning(name, "Redis keeps no append-only file.", PERSIST)
    if facts.get("aof_last_write_status", "ok") != "ok":
        remedy = "Look at the server's disk and its log."
        return error(name, "Redis cannot write its append-only file.", remedy)
    return ok(name, "Redis writes an append-only file.")


def _find_stray(redis: Redis) -> list[Finding]:
    """Return the findings on Celery's keys: messages that were sent without our prefix."""
    seconds = TRANSPORT_OPTIONS["visibility_timeout"]
    try:
        stray = [queue for queue in QUEUES if redis.exists(queue)]
    except NoPermissionError:
        stray = []
    if not stray:
        detail = f"Key prefix {BROKER_PREFIX}, visibility timeout {seconds} s."
        return [ok("celery", detail)]
    detail = f"Messages lie in {' and '.join(stray)} without the prefix {BROKER_PREFIX}."
    remedy = (
        "No worker reads them. Give their producer broker_transport_options = "
        f'{{"global_keyprefix": "{BROKER_PREFIX}"}}, and send them again.'
    )
    return [warning("celery", detail, remedy)]


def _read_clock(redis: Redis) -> float:
    seconds, micros = redis.time()
    return int(seconds) + int(micros) / 1e6
