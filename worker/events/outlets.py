"""Outlets: where events go from the outbox, each with a position of its own.

The Redis stream is one (redis_stream.py), an AMQP exchange another (amqp.py); `OUTLETS` says which
are on. One that is away neither stops the others nor loses anything: it goes on where it was.
"""

from collections.abc import Sequence
from typing import Protocol

import structlog
from redis import Redis
from sqlalchemy import Engine

from worker.events.amqp import AmqpOutlet
from worker.events.redis_stream import OutletAway, OutletUnfit, StreamOutlet
from worker.runtime.settings import OutletName, Settings

log: structlog.stdlib.BoundLogger = structlog.stdlib.get_logger(__name__)


class Outlet(Protocol):
    """Somewhere events go, in order, each at least once."""

    name: str

    def relay(self) -> int:
        """Hand on what has not been handed on yet; return how many events.

        Safe to run any number of times at once. No transaction is open while it talks to others.
        Raises OutletAway (the rest is for the next call), and OutletUnfit (a person must look).
        """
        ...

    def position(self) -> int:
        """The last position that was handed on: nothing before it is needed any more.

        Raises OutletUnfit where that cannot be told.
        """
        ...

    def close(self) -> None:
        """End its connections."""
        ...


def switched_on(engine: Engine, redis: Redis, settings: Settings) -> list[Outlet]:
    """The outlets that the settings name; none has connected to anything yet."""
    base_url = settings.public_base_url
    made: list[Outlet] = []
    for name in settings.outlet_names():
        match name:
            case OutletName.STREAM:
                made.append(StreamOutlet(engine, redis, base_url))
            case OutletName.AMQP:
                made.append(AmqpOutlet(engine, settings.amqp(), base_url))
    return made


def relay_or_later(outlets: Sequence[Outlet]) -> None:
    """Let each outlet hand on what it can; publishing depends on none of them.

    The sweep relays once one is back; one that does not fit is logged each time.
    """
    for outlet in outlets:
        try:
            outlet.relay()
        except OutletAway as error:
            log.warning("relay.postponed", outlet=outlet.name, error=str(error))
        except OutletUnfit as error:
            log.error(  # noqa: TRY400 - says it all
                "relay.refused", outlet=outlet.name, error=" ".join(str(error).split())
            )
