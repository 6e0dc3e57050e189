"""A value that is read again when it is older than a moment, however many pages show it."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from threading import Lock
from typing import Generic, TypeVar

T = TypeVar("T")

OLDEST_SECONDS = 30.0
"""The oldest value that is shown while another thread reads it again."""


@dataclass(frozen=True, slots=True)
class _Kept(Generic[T]):
    value: T
    read_at: float

    def is_within(self, seconds: float) -> bool:
        return time.monotonic() - self.read_at <= seconds


class Recent(Generic[T]):
    """Keeps a value for `seconds`. Of several threads that need it again, one reads it.

    The others return the old value meanwhile: a read that takes seconds would occupy every thread
    of the process.
    """

    def __init__(self, read: Callable[[], T], seconds: float) -> None:
        self._read = read
        self._seconds = seconds
        self._lock = Lock()
        self._kept: _Kept[T] | None = None

    def get(self) -> T:
        """Return the value. Raises what reading it raises."""
        kept = self._kept
        if kept is not None and kept.is_within(OLDEST_SECONDS):
            if kept.is_within(self._seconds) or not self._lock.acquire(blocking=False):
                return kept.value
        else:
            self._lock.acquire()
        try:
            return self._read_again()
        finally:
            self._lock.release()

    def _read_again(self) -> T:
        """Read the value, unless another thread has just done so."""
        if self._kept is None or not self._kept.is_within(self._seconds):
            value = self._read()
            self._kept = _Kept(value, time.monotonic())
        return self._kept.value
