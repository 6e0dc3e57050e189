"""One event in a handler's hands, until it is acknowledged or failed."""

from functools import cached_property
from typing import Generic, TypeVar

from schemas.received_event import Event, received
from worker.subscribe.stream_entry import Entry

Owner = TypeVar("Owner")


class Delivery(Generic[Owner]):
    """One event, to be handled."""

    def __init__(self, owner: Owner, entry: Entry) -> None:
        self._owner = owner
        self._entry = entry

    @cached_property
    def event(self) -> Event:
        """The event; read when it is first asked for."""
        return received(self._entry.document)

    @property
    def position(self) -> int:
        """The event's place in the one order of the stream."""
        return self._entry.position

    @property
    def attempt(self) -> int:
        """1, or more once a try has failed, or an earlier consumer died over it."""
        return max(self._entry.tries, 1)

    @property
    def raw(self) -> bytes:
        """The CloudEvents document as it came."""
        return self._entry.raw


def told(error: BaseException | str) -> str:
    """An error as it is kept beside a dead letter."""
    return error if isinstance(error, str) else f"{type(error).__name__}: {error}"


def named(group: str, partition: tuple[int, int] | None, *, shared: bool) -> str:
    """The name of the consumer group: of a part, `search.0of4`."""
    if not group or ":" in group:
        raise ValueError("a group needs a name, without a colon")
    if partition is None:
        return group
    index, count = partition
    if shared:
        raise ValueError("a partition is read by one consumer at a time: shared does not fit it")
    if not 0 <= index < count:
        raise ValueError(f"there is no part {index} of {count}: they count from 0")
    return f"{group}.{index}of{count}"
