"""A value that is read again when it is older than a moment, however many pages show it."""

import time
from collections.abc import Callable
from threading import Lock
from typing import Any, Generic, TypeVar

from fastapi import Request

T = TypeVar("T")


class Recent(Generic[T]):
    """Keeps a value for `seconds`. Of several threads that need it again, one reads it."""

    def __init__(self, read: Callable[[], T], seconds: float) -> None:
        self._read = read
        self._seconds = seconds
        self._lock = Lock()
        self._kept: tuple[float, T] | None = None

    def get(self) -> T:
        """Return the value. Raises what reading it raises."""
        with self._lock:
            if self._kept is None or time.monotonic() - self._kept[0] > self._seconds:
                self._kept = (time.monotonic(), self._read())
            return self._kept[1]


def get_recent(request: Request, name: str, read: Callable[[], T], seconds: float) -> T:
    """Return the value of this name that the application keeps for `seconds`, or read it again.

    Raises what `read` raises.
    """
    kept: dict[str, Recent[Any]] = request.app.state.recent
    return kept.setdefault(name, Recent(read, seconds)).get()
