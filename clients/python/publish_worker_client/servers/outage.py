"""The log of an outage: one line when it begins, one when it ends, and none for each attempt.

An outage lasts until its end, which the caller reports; another cause in between is logged too, as
a server may refuse the connection, then load its data, and then have no memory.
"""

from collections.abc import Callable

from publish_worker_client.servers.redis_errors import to_code, to_text


class OutageLog:
    """The outage of what one part of a process needs; it begins with the first error.

    `begin` logs that it begins, with the error's text; `end` that it is over.
    """

    def __init__(self, begin: Callable[[str], None], end: Callable[[], None]) -> None:
        self._begin, self._end = begin, end
        self._causes: dict[tuple[type[BaseException], str], object] = {}

    @property
    def has_begun(self) -> bool:
        """Whether an outage has begun that is not over."""
        return bool(self._causes)

    def note(self, error: BaseException) -> None:
        """Log an error, unless this outage has had the same cause before, in any thread."""
        first = object()
        if self._causes.setdefault((type(error), to_code(error)), first) is first:
            self._begin(to_text(error))

    def end(self) -> None:
        """Log that the outage is over, if there was one."""
        if self._causes:
            self._end()
            self._causes.clear()
