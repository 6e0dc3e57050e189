"""Exactly one effect: the position is stored in the consumer's own Postgres, with the effect.

An event may be delivered twice: its consumer was killed between the effect and the acknowledgement.
Whoever stores what it did and that it did so in one transaction does it once.

    with once(connection, "search", delivery.event) as is_new:
        if is_new:
            connection.execute(…)  # the effect
    delivery.ack()
"""

from collections.abc import AsyncGenerator, Generator
from contextlib import asynccontextmanager, contextmanager

from schemas.received_event import Event
from worker.subscribe import positions
from worker.subscribe.positions import Own, OwnAsync


def create_positions(connection: Own) -> None:
    """Make the table `subscriber_position` in the consumer's database, unless it is there."""
    with connection.transaction():
        positions.create(connection)


@contextmanager
def once(connection: Own, group: str, event: Event) -> Generator[bool]:
    """One transaction on `connection`, in which to have the event's effect; False: it was had.

    Any order of events will do, any number of consumers, and events that were redriven. Inside a
    transaction that is open already it is a part of that one.
    """
    with connection.transaction():
        yield positions.record(connection, group, event.position)


@asynccontextmanager
async def once_async(connection: OwnAsync, group: str, event: Event) -> AsyncGenerator[bool]:
    """The same on an asynchronous connection."""
    async with connection.transaction():
        yield await positions.record_async(connection, group, event.position)


def handled_up_to(connection: Own, group: str) -> int | None:
    """Up to here every event's effect is there: for `start_after`, or another way to subscribe.

    Meant for consumers that record every event, whatever its type.
    """
    with connection.transaction():
        return positions.handled(connection, group)


def forget_positions(connection: Own, group: str, *, before: int) -> int:
    """Forget positions before one; return how many. Events that old must not come again."""
    with connection.transaction():
        return positions.forget(connection, group, before)
