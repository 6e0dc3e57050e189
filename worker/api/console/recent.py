"""A value that is read again when it is older than a moment, however many pages show it."""

import time
from collections.abc import Callable
from contextlib import suppress
from threading import Lock, Thread
from typing import Any, Generic, TypeVar

from fastapi import Request

T = TypeVar("T")

OLDEST_SECONDS = 30.0
"""The oldest value that is shown while it is read again."""


class Recent(Generic[T]):
    """Keeps a value for `seconds`; then one thread of its own reads it again.

    No caller waits for that, unless there is no value, or an old one: a read that takes seconds
    would occupy every thread of the process.
    """

    def __init__(self, read: Callable[[], T], seconds: float) -> None:
        self._read = read
        self._seconds = seconds
        self._lock = Lock()
        self._kept: tuple[float, T] | None = None
        self._is_reading = False

    def get(self) -> T:
        """Return the value. Raises what reading it raises."""
        with self._lock:
            kept, now = self._kept, time.monotonic()
            if kept is None or now - kept[0] > OLDEST_SECONDS:
                kept = self._kept = (now, self._read())
            elif now - kept[0] > self._seconds and not self._is_reading:
                self._is_reading = True
                Thread(target=self._refresh, name="recent", daemon=True).start()
            return kept[1]

    def _refresh(self) -> None:
        kept = None
        with suppress(Exception):  # the next caller reads it, and receives the error
            kept = (time.monotonic(), self._read())
        with self._lock:
            self._kept, self._is_reading = kept, False


def get_recent(request: Request, name: str, read: Callable[[], T], seconds: float) -> T:
    """Return the value of this name that the application keeps for `seconds`.

    Raises what `read` raises.
    """
    kept: dict[str, Recent[Any]] = request.app.state.recent
    return kept.setdefault(name, Recent(read, seconds)).get()
