"""An outage of a server: logged once for each cause, and once when it is over."""

from typing import Any

import structlog

from worker.runtime.redis_errors import to_code, to_text

log: structlog.stdlib.BoundLogger = structlog.stdlib.get_logger(__name__)


class Outage:
    """The outage of what one part of a process needs; it begins with the first error.

    `begin` and `end` are the log events; `known` is in each log line.
    """

    def __init__(self, begin: str, end: str, **known: Any) -> None:
        self._begin, self._end = begin, end
        self._known = known
        self._causes: set[tuple[type[BaseException], str]] = set()

    def note(self, error: BaseException) -> None:
        """Log an error, unless this outage has had the same cause before."""
        cause = type(error), to_code(error)
        if cause not in self._causes:
            log.warning(self._begin, **self._known, error=to_text(error))
        self._causes.add(cause)

    def end(self) -> None:
        """Log that the outage is over, if there was one."""
        if self._causes:
            log.info(self._end, **self._known)
            self._causes.clear()
