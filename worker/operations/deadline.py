"""A deadline for several reads at once: a part that hangs delays no answer beyond it."""

import time
from collections.abc import Callable
from concurrent.futures import Future
from threading import Thread
from typing import TypeVar

T = TypeVar("T")


class Deadline:
    """Reads run side by side, each in a thread of its own, and are waited for until one moment."""

    def __init__(self, seconds: float) -> None:
        self._ends_at = time.monotonic() + seconds

    def start(self, read: Callable[[], T]) -> Callable[[T], T]:
        """Start reading; return a function that waits for the value.

        It returns its argument if the value has not come by the deadline, and raises what `read`
        raised. A read that is late goes on until its own limit of time; its value is dropped.
        """
        future: Future[T] = Future()
        Thread(target=_read, args=(read, future), name="deadline", daemon=True).start()

        def wait(late: T) -> T:
            try:
                return future.result(max(0.0, self._ends_at - time.monotonic()))
            except TimeoutError:
                if future.done():
                    raise  # of `read` itself
                return late

        return wait


def _read(read: Callable[[], T], future: Future[T]) -> None:
    try:
        future.set_result(read())
    except BaseException as error:  # noqa: BLE001 - the one who waits has it
        future.set_exception(error)
