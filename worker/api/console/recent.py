"""Values that are read once for all who look at them, and again while they do."""

import time
from asyncio import wrap_future
from collections.abc import Callable
from concurrent.futures import Future
from threading import Event, Lock, Thread
from typing import Any, Generic, TypeVar

from fastapi import Request

T = TypeVar("T")

FOLLOWED_SECONDS = 30.0
"""How long after the last look a value is still read again."""
REST = 10
"""A read is followed by a pause of this many times its length at least: a slow server is left
alone."""
LONGEST_REST_SECONDS = 5.0
"""A read that took long because a part hung is out of date as soon as that part answers."""
CLOSING_SECONDS = 1.0


class Recent(Generic[T]):
    """A value that a thread reads for the first who looks, and then every `seconds`.

    After a while without a look, or when it cannot be read, it is forgotten.
    """

    def __init__(self, read: Callable[[], T], seconds: float, closing: Event) -> None:
        self._read = read
        self._seconds = seconds
        self._closing = closing
        self._lock = Lock()
        self._value: Future[T] | None = None
        self._looked_at = 0.0
        self._thread: Thread | None = None

    def look(self) -> T:
        """Return the value; the first look waits for it. Raises what reading it raises."""
        return self._ask().result()

    async def look_from_loop(self) -> T:
        """Like `look`, on the event loop."""
        return await wrap_future(self._ask())

    @property
    def is_followed(self) -> bool:
        """Whether the value is there, or is being read."""
        return self._value is not None

    def join(self, seconds: float) -> None:
        """Wait for the thread to end."""
        if self._thread:
            self._thread.join(max(seconds, 0))

    def _ask(self) -> Future[T]:
        self._looked_at = time.monotonic()
        with self._lock:
            value = self._value  # the thread may forget it at any moment
            if value is None:
                value = self._value = _begin()
                self._thread = Thread(target=self._follow, args=(value,), daemon=True)
                try:
                    self._thread.start()
                except RuntimeError:  # no more threads: the next look tries again
                    self._value = self._thread = None
                    raise
            return value

    def _follow(self, value: Future[T]) -> None:
        """Read the value again and again; an error is left to who looks next, and meets it."""
        pause = 0.0
        while not self._closing.wait(pause):
            began = time.monotonic()
            if began - self._looked_at > FOLLOWED_SECONDS:
                break
            try:
                read = self._read()
            except Exception as error:  # noqa: BLE001 - those who look raise it
                self._value = None
                if not value.done():
                    value.set_exception(error)
                return
            if value.done():
                value = _begin()
            value.set_result(read)
            self._value = value
            pause = self._to_pause(time.monotonic() - began)
        self._value = None
        if not value.done():
            value.set_exception(RuntimeError("the application is closing"))

    def _to_pause(self, took: float) -> float:
        return max(self._seconds, min(REST * took, LONGEST_REST_SECONDS))


def _begin() -> Future[Any]:
    """Return a future that a reader who leaves does not cancel: others wait for it."""
    future: Future[Any] = Future()
    future.set_running_or_notify_cancel()
    return future


class Recents:
    """The values of one process, by their names."""

    def __init__(self) -> None:
        self._all: dict[str, Recent[Any]] = {}
        self._lock = Lock()
        self._closing = Event()

    def find(self, name: str, read: Callable[[], T], seconds: float) -> Recent[T]:
        """Return the value of this name; a new one if it is not there. Never waits for a read."""
        with self._lock:
            found = self._all.get(name)
            if found is None:
                self._all = {each: kept for each, kept in self._all.items() if kept.is_followed}
                found = self._all[name] = Recent(read, seconds, self._closing)
            return found

    def close(self) -> None:
        """Read nothing again, and wait a moment for the reads that run."""
        self._closing.set()
        until = time.monotonic() + CLOSING_SECONDS
        for each in list(self._all.values()):
            each.join(until - time.monotonic())


def get_recents(request: Request) -> Recents:
    """Return the values of this process."""
    return request.app.state.recents
