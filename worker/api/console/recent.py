"""A value that is read again when it is older than a moment, however many pages show it."""

import time
from collections.abc import Callable
from threading import Lock, Thread
from typing import Generic, TypeVar

T = TypeVar("T")


class Recent(Generic[T]):
    """Keeps a value for `seconds`. Of several threads that need it again, one reads it.

    Up to the age `longest`, no caller waits for that: the kept value is returned meanwhile.
    """

    def __init__(self, read: Callable[[], T], seconds: float, *, longest: float) -> None:
        self._read = read
        self._seconds = seconds
        self._longest = longest
        self._lock = Lock()
        self._kept: tuple[float, T] | None = None
        self._is_reading = False

    def get(self) -> T:
        """Return the value. Raises what reading it raises."""
        with self._lock:
            kept, now = self._kept, time.monotonic()
            if kept is None or now - kept[0] > self._longest:
                kept = self._kept = (now, self._read())
            elif now - kept[0] > self._seconds and not self._is_reading:
                self._is_reading = True
                Thread(target=self._refresh, name="recent", daemon=True).start()
            return kept[1]

    def _refresh(self) -> None:
        try:
            kept = (time.monotonic(), self._read())
            with self._lock:
                self._kept = kept
        finally:
            self._is_reading = False
