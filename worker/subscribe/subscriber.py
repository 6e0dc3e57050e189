"""The subscriber: a consumer of a group, for programs with threads."""

import threading
import time
from collections.abc import Callable, Iterator
from types import TracebackType
from typing import Any, Self, TypeVar

import structlog
from redis import Redis
from redis.exceptions import ConnectionError as RedisAway
from redis.exceptions import TimeoutError as RedisSilent
from sqlalchemy.exc import OperationalError

from schemas.received_event import Event
from worker.subscribe.delivery import Delivery as AnyDelivery
from worker.subscribe.delivery import named, told
from worker.subscribe.effects import Ask, AskEnds, Course, Effect, Pause, Send
from worker.subscribe.errors import Gap
from worker.subscribe.group import Group
from worker.subscribe.outbox_reading import OutboxReading
from worker.subscribe.reader import FLUSH_SECONDS, Reader

T = TypeVar("T")
AWAY = (RedisAway, RedisSilent, OperationalError)
"""What passes by itself."""
AWAY_SECONDS = 0.2
SLICE_SECONDS = 0.05
"""A pause is waited out in slices, between which a stop is noticed."""
MAX_TRIES = 5
LEASE_SECONDS = 10.0

log: structlog.stdlib.BoundLogger = structlog.stdlib.get_logger(__name__)


class Delivery(AnyDelivery["Subscriber"]):
    """One event; call `ack()` once it is handled, or `fail(error)`."""

    def ack(self) -> None:
        """It was handled. Told to Redis at once, or with the next ones if they come fast."""
        self._owner.acknowledge(self._entry)

    def fail(self, error: BaseException | str) -> None:
        """It could not be handled: it comes again after a pause, or is set aside."""
        self._owner.fail(self._entry, told(error))


class Subscriber:
    """A consumer of the group `group`: every event at least once, each video's in order.

    One consumer of a group reads at a time; another one stands by, and goes on within
    `lease_seconds` once the first is gone. More at once, two ways:

    - `partition=(i, n)`: consumer i of n (from 0) gets the videos with crc32(partitionkey) % n = i,
      each still in order, as a group of its own, `search.0of4`.
    - `shared=True`: any number share the group; events of one video may then be handled at the
      same time, or out of order.

    A new group begins with the oldest event there is, or behind `start_after`. With `database_url`
    events that the stream has lost are read from the outbox; without it, a Gap is raised.
    """

    def __init__(  # noqa: PLR0913 - options, each named at the call
        self,
        redis_url: str,
        *,
        group: str,
        database_url: str | None = None,
        partition: tuple[int, int] | None = None,
        shared: bool = False,
        start_after: int | None = None,
        max_tries: int = MAX_TRIES,
        retry_seconds: float = 1.0,
        lease_seconds: float = LEASE_SECONDS,
        public_base_url: str = "http://localhost:8000",
    ) -> None:
        self._redis = client(Redis, redis_url)
        self._outbox = OutboxReading(database_url) if database_url else None
        self.group = Group(
            name=named(group, partition, shared=shared),
            shared=shared,
            partition=partition,
            lease_seconds=lease_seconds,
        )
        self._reader = Reader(
            self.group,
            start_after=start_after,
            max_tries=max_tries,
            retry_seconds=retry_seconds,
            base_url=public_base_url if database_url else None,
        )
        self._stopping = False
        self._closed = threading.Event()
        self._keeper = threading.Thread(target=self._keep_alive, name="subscriber", daemon=True)

    def __enter__(self) -> Self:
        self._keeper.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Send what was acknowledged, hand over, close."""
        self._closed.set()
        self._keeper.join()
        try:
            self._drive(self._reader.leave())
        except AWAY as away:
            log.warning("subscriber.left_unheard", group=self.group.name, error=str(away))
        self._redis.close()
        if self._outbox:
            self._outbox.close()

    def __iter__(self) -> Iterator[Delivery]:
        return self

    def __next__(self) -> Delivery:
        """The next event, waited for; ends after `stop()`."""
        while not self._stopping:
            entry = self._reader.at_hand(now := time.monotonic())
            if entry is None:
                entry = self._patiently(self._reader.advance(now))
            if entry is not None:
                return Delivery(self, entry)
        raise StopIteration

    def run(self, handler: Callable[[Event], object]) -> None:
        """Hand every event to `handler` until `stop()`; what it raises is a failed try."""
        for delivery in self:
            try:
                handler(delivery.event)
            except Exception as error:  # noqa: BLE001 - whatever a handler raises, others go on
                delivery.fail(error)
            else:
                delivery.ack()

    def stop(self) -> None:
        """End the loop after the event in hand; from a signal handler or any thread."""
        self._stopping = True

    def pass_over(self, gap: Gap) -> None:
        """Let the group go on without the events that a Gap has named."""
        self._drive(self._reader.pass_over(gap))

    def acknowledge(self, entry: Any) -> None:
        """For a delivery."""
        self._reader.note_done(entry)
        now = time.monotonic()
        if now - self._reader.flushed_at > FLUSH_SECONDS:
            self._patiently(self._reader.flush(now), pause=False)

    def fail(self, entry: Any, error: str) -> None:
        """For a delivery."""
        self._patiently(self._reader.fail(entry, error, time.monotonic()), pause=False)

    def _patiently(self, course: Course[T], *, pause: bool = True) -> T | None:
        """Go a way; if an engine is away, None, and the next one begins by joining again."""
        try:
            return self._drive(course)
        except AWAY as error:
            self._reader.is_open = False
            log.warning("subscriber.waits", group=self.group.name, error=str(error))
            if pause:
                self._pause(AWAY_SECONDS)
            return None

    def _drive(self, course: Course[T]) -> T:
        try:
            effect = next(course)
            while True:
                try:
                    result = self._perform(effect)
                except BaseException:
                    course.close()
                    raise
                effect = course.send(result)
        except StopIteration as end:
            return end.value

    def _perform(self, effect: Effect) -> Any:
        match effect:
            case Send(commands=commands):
                with self._redis.pipeline(transaction=False) as pipe:
                    for command in commands:
                        pipe.execute_command(*command)
                    return pipe.execute(raise_on_error=False)
            case Pause(seconds=seconds):
                return self._pause(seconds)
            case Ask() | AskEnds():
                return self._outbox and self._outbox.answer(effect)

    def _pause(self, seconds: float) -> None:
        until = time.monotonic() + seconds
        while not self._stopping and (left := until - time.monotonic()) > 0:
            time.sleep(min(left, SLICE_SECONDS))

    def _keep_alive(self) -> None:
        """Renew the lease however long a handler takes."""
        while not self._closed.wait(self.group.lease_seconds / 3):
            if not self._reader.has_lease:
                continue
            try:
                if not self._drive(self._reader.keep_alive()):
                    self._reader.lost_lease = True
            except AWAY:
                continue  # who reads notices by himself


def client(kind: Callable[..., T], redis_url: str) -> T:
    """A client that leaves the replies as they come."""
    made: Any = kind.from_url(redis_url, protocol=2, decode_responses=False)  # pyright: ignore[reportFunctionMemberAccess]
    for command in ("XREADGROUP", "XREAD"):
        made.set_response_callback(command, _as_it_came)
    return made


def _as_it_came(reply: Any, **_options: Any) -> Any:
    return reply
