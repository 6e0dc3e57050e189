"""Wake-ups from an event loop: a thread sends them, so that no request waits for the broker."""

import threading

import structlog

from worker.runtime.wake_ups import Waker

log: structlog.stdlib.BoundLogger = structlog.stdlib.get_logger(__name__)


class BackgroundWaker:
    """Sends wake-ups of one kind. Those asked for while one is being sent become one."""

    def __init__(self, waker: Waker) -> None:
        self._waker = waker
        self._wanted = threading.Semaphore(0)
        self._is_wanted = False
        self._is_closed = False
        self._thread = threading.Thread(target=self._send_all, name="waker", daemon=True)
        self._thread.start()

    def wake(self) -> None:
        """Have a wake-up sent. Returns at once, and raises nothing."""
        if not self._is_wanted:
            self._is_wanted = True
            self._wanted.release()

    def close(self) -> None:
        """Send the last wake-up, and end the thread."""
        self._is_closed = True
        self._wanted.release()
        self._thread.join()

    def _send_all(self) -> None:
        while not self._is_closed or self._is_wanted:
            self._wanted.acquire()
            if self._is_wanted:
                self._is_wanted = False  # before it is sent: what is accepted from now on counts
                self._send()

    def _send(self) -> None:
        try:
            self._waker.wake()
        except Exception:
            log.exception("wake_up.failed", consequence="the sweep finds the commands")
