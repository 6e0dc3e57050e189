"""The log of an outage: one line as it begins, then with growing pauses, and one as it ends."""

import time

import structlog

LONGEST_PAUSE_SECONDS = 60.0

log: structlog.stdlib.BoundLogger = structlog.stdlib.get_logger(__name__)


class OutageLog:
    """Logs the errors of one part, however often it is tried."""

    def __init__(self, part: str) -> None:
        """`part`: the first word of the log events, such as `broker`."""
        self._begun, self._over = f"{part}.unreachable", f"{part}.reachable_again"
        self._pause = 0.0
        self._next = 0.0

    def note_error(self, error: str) -> None:
        """Log an error unless one was logged a short while ago."""
        now = time.monotonic()
        if now < self._next:
            return
        self._pause = min(self._pause * 2 or 1.0, LONGEST_PAUSE_SECONDS)
        self._next = now + self._pause
        log.warning(self._begun, error=error, next_line_in=self._pause)

    def note_success(self) -> None:
        """Log the end of the outage, if there was one."""
        if self._pause:
            log.warning(self._over)
        self._pause = self._next = 0.0
