"""What an outlet is: a place that events are relayed to, with a position of its own."""

from typing import Protocol

from db.events.outbox import Recorded
from worker.runtime.outage import Outage

BATCH = 1_000
"""Events that are read from the outbox at a time."""


class OutletUnreachable(Exception):
    """The outlet cannot be reached now; the next relay continues where this one stopped."""


class OutletOutOfSync(Exception):
    """The outlet cannot be continued from this outbox until a person has looked.

    The text of a subclass is its docstring: what is wrong, and what to do.
    """

    def __init__(self) -> None:
        super().__init__(" ".join((type(self).__doc__ or "").split()))


class Outlet(Protocol):
    """A place that gets every event, in order, at least once."""

    name: str
    outage: Outage
    """Ended by a relay that reached the outlet."""

    def relay(self, recorded: Recorded | None = None) -> int:
        """Relay every event that has not been relayed yet; return their number.

        `recorded` are events that this process recorded just now.
        Any number of processes may call it at once. No transaction is open during network calls.
        Raises OutletUnreachable and OutletOutOfSync.
        """
        ...

    def position(self) -> int:
        """Return the last position that was relayed: the outlet needs nothing before it.

        Raises OutletOutOfSync if it cannot be known.
        """
        ...

    def close(self) -> None:
        """Close its own connections."""
        ...
