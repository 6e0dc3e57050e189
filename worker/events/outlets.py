"""Outlets: the Redis stream (redis_stream.py), an AMQP exchange (amqp.py), or both (`OUTLETS`).

An outlet that is unreachable neither stops the others nor loses an event: it continues later.
"""

from collections.abc import Iterable

import structlog
from redis import Redis
from sqlalchemy import Engine

from db.events.outbox import Recorded
from worker.events.amqp import AmqpOutlet
from worker.events.outlet import Outlet, OutletOutOfSync, OutletUnreachable
from worker.events.redis_stream import StreamOutlet
from worker.runtime.metrics import OUT_OF_SYNC, UNREACHABLE, get_metrics
from worker.runtime.settings import OutletName, Settings

log: structlog.stdlib.BoundLogger = structlog.stdlib.get_logger(__name__)


def build_outlets(engine: Engine, redis: Redis, settings: Settings) -> list[Outlet]:
    """Return the outlets that the settings name. They connect on first use."""
    base_url = settings.public_base_url

    def build(name: OutletName) -> Outlet:
        match name:
            case OutletName.STREAM:
                return StreamOutlet(engine, redis, base_url)
            case OutletName.AMQP:
                return AmqpOutlet(engine, settings.amqp(), base_url)

    return [build(name) for name in settings.outlet_names()]


def relay_all(outlets: Iterable[Outlet], recorded: Recorded | None = None) -> int:
    """Relay to each outlet; log one that fails and go on: publishing depends on none of them.

    Returns how many events the outlets got.

    `recorded` are events of this process, just committed: an outlet need not read them again.
    The sweep relays the rest later. An outage is logged once for each cause.
    """
    relayed, metrics = 0, get_metrics()
    for outlet in outlets:
        try:
            count = outlet.relay(recorded)
        except OutletUnreachable as error:
            metrics.relay_errors.labels(outlet.name, UNREACHABLE).inc()
            outlet.outage.note(error.__cause__ or error)
        except OutletOutOfSync as error:
            metrics.relay_errors.labels(outlet.name, OUT_OF_SYNC).inc()
            log.error("relay.refused", outlet=outlet.name, error=str(error))  # noqa: TRY400
        else:
            relayed += count
            if count:
                metrics.relayed_events.labels(outlet.name).inc(count)
    return relayed
