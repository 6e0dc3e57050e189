"""Gauges: what the database and Redis know, for a scrape of the API by Prometheus.

They are read at most every two seconds, by one scrape for all that arrive meanwhile, so that a
storm of scrapes costs no more. While a part is unreachable, its gauges are absent.
"""

import asyncio
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from importlib.metadata import version

from prometheus_client import Metric
from prometheus_client.metrics_core import GaugeMetricFamily
from prometheus_client.registry import Collector
from redis import Redis
from redis.exceptions import RedisError
from sqlalchemy import Engine

from db import gauges
from db.errors import DATABASE_ERRORS
from db.gauges import Readings
from db.loop_sessions import LoopPool
from worker.events.redis_stream import read_stream_end
from worker.operations.health import read_sweep_age
from worker.runtime.metrics import NAMESPACE
from worker.runtime.settings import OutletName, Settings

FRESH_SECONDS = 2.0
"""How long readings are reported again."""
WAIT_SECONDS = 2.0
"""How long a scrape waits for the database: for a new connection and a few statements."""
WEBHOOKS = "webhooks"
"""The name of the fan-out among the outlets."""


@dataclass(frozen=True, kw_only=True)
class RedisReadings:
    """What Redis knows."""

    stream_position: int
    heartbeat: float
    """Seconds since 1970; 0: none within the last minute."""


class Gauges(Collector):
    """The gauges as they were read last; None: the part is unreachable."""

    def __init__(self, readings: Readings | None, redis: RedisReadings | None) -> None:
        self._readings = readings
        self._redis = redis

    def collect(self) -> Iterable[Metric]:
        """Return a family for each gauge; one that is unknown has no sample."""
        known, redis = self._readings or Readings(), self._redis
        yield _gauge("database_up", "Whether the database answered.", self._readings is not None)
        yield _gauge("redis_up", "Whether Redis answered.", redis is not None)
        yield _gauge(
            "heartbeat_timestamp_seconds",
            "When a worker last ran a sweep of beat's; 0: not within the last minute.",
            redis and redis.heartbeat,
        )
        yield from _commands(known)
        yield from _events(known)
        yield from _webhooks(known)
        yield _by_label(
            "build_info", "The version of this API.", "version", {version("publish-worker"): 1}
        )


class GaugeReader:
    """Reads the gauges, with a database connection of its own."""

    def __init__(self, engine: Engine, redis: Redis, settings: Settings) -> None:
        self._pool = LoopPool(engine, 1)
        self._redis = redis
        self._outlets = [WEBHOOKS, *(name for name in settings.outlet_names())]
        self._reading = asyncio.Lock()
        self._last = Gauges(None, None)
        self._read_at = float("-inf")

    async def read(self) -> Gauges:
        """Return gauges that are at most `FRESH_SECONDS` old; raises nothing for a dead part."""
        async with self._reading:
            if time.monotonic() - self._read_at > FRESH_SECONDS:
                redis = await asyncio.to_thread(read_redis, self._redis)
                self._last = Gauges(await self._read_database(redis), redis)
                self._read_at = time.monotonic()
            return self._last

    async def close(self) -> None:
        """Close the connection."""
        await self._pool.close()

    async def _read_database(self, redis: RedisReadings | None) -> Readings | None:
        stream = redis and OutletName.STREAM in self._outlets
        try:
            async with asyncio.timeout(WAIT_SECONDS):
                return await self._pool.run(
                    gauges.read,
                    outlets=self._outlets,
                    stream_position=redis.stream_position if redis and stream else None,
                )
        except (TimeoutError, *DATABASE_ERRORS):
            return None


def read_redis(redis: Redis) -> RedisReadings | None:
    """Return what Redis knows; None: it does not answer."""
    try:
        age = read_sweep_age(redis)
        return RedisReadings(
            stream_position=read_stream_end(redis).position,
            heartbeat=0.0 if age is None else time.time() - age,
        )
    except RedisError:
        return None


def _commands(known: Readings) -> Iterable[Metric]:
    open_commands = {"scheduled": known.scheduled, "waiting": known.waiting}
    yield _by_label("open_commands", "Commands that have not ended.", "state", open_commands)
    yield _gauge("due_commands", "Commands that may be claimed now, up to 10,000.", known.due)
    yield _gauge(
        "oldest_due_command_age_seconds",
        "How long the oldest command that can be claimed has been due; 0: none is.",
        known.oldest_due_seconds,
    )
    yield _gauge(
        "failed_commands", "Commands that failed and can be retried, up to 10,000.", known.failed
    )
    yield _gauge(
        "quarantined_messages",
        "Messages and reports in quarantine, up to 10,000.",
        known.quarantined,
    )
    first, at, late = known.canary or (None, None, None)
    yield _gauge(
        "canary_first_scheduled_timestamp_seconds",
        "When the oldest canary that is stored was scheduled.",
        first,
    )
    yield _gauge(
        "canary_last_success_timestamp_seconds", "When the last canary was carried out.", at
    )
    yield _gauge("canary_lateness_seconds", "How late the last canary was.", late)


def _events(known: Readings) -> Iterable[Metric]:
    yield _gauge("last_event_position", "The position of the last event.", known.last_position)
    yield _by_label(
        "relay_lag_events", "Events that an outlet has not got yet.", "outlet", known.lag_events
    )
    yield _by_label(
        "relay_lag_seconds",
        "The age of the first event that an outlet has not got yet; 0: it has all.",
        "outlet",
        known.lag_seconds,
    )


def _webhooks(known: Readings) -> Iterable[Metric]:
    yield _gauge(
        "webhook_pending_deliveries",
        "Deliveries that have not ended, up to 10,000.",
        known.pending_deliveries,
    )
    yield _gauge(
        "webhook_oldest_due_delivery_age_seconds",
        "How long the oldest delivery that can be sent has been due; 0: none is.",
        known.oldest_delivery_seconds,
    )
    yield _by_label("webhook_endpoints", "Webhook endpoints.", "state", known.endpoints)


def _gauge(name: str, text: str, value: float | None) -> Metric:
    return GaugeMetricFamily(f"{NAMESPACE}_{name}", text, value=value)


def _by_label(name: str, text: str, label: str, values: Mapping[str, float | None]) -> Metric:
    family = GaugeMetricFamily(f"{NAMESPACE}_{name}", text, labels=[label])
    for key, value in values.items():
        if value is not None:
            family.add_metric([key], value)
    return family
