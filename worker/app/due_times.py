"""The coming due times, kept by a thread that reads them and is notified of new ones.

It reads the next seconds once a second; a notification tells it of a command that falls due sooner.
It serves punctuality only: a due command that it misses, the sweep finds.
"""

import threading
import time
from collections.abc import Callable, Sequence
from heapq import heappop, heappush
from math import inf

import structlog
from sqlalchemy import Engine

from db.commands import due_times
from db.errors import DATABASE_ERRORS
from db.session import Connection
from worker.runtime.outage import Outage

READ_EVERY_SECONDS = 1.0
NEXT_READ_SECONDS = 0.05
"""So soon after a notification of a due time they are read again: of many commands that one
transaction schedules, it tells the earliest."""
RETRY_SECONDS = 0.5
"""Pause after the database was unreachable."""
TRAILING_SECONDS = 0.05
"""So long after a notification of the end of generation, or of commands that were enqueued in SQL,
Celery is woken once more: transactions that commit at about the same time do not notify
(db/tables/triggers.py)."""
SILENT_SECONDS = 10.0
"""A read that takes longer gets no answer: its connection is cut off, and replaced."""

log: structlog.stdlib.BoundLogger = structlog.stdlib.get_logger(__name__)


class DueTimes:
    """Waits for the next due time, by this machine's monotonic clock."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._changed = threading.Condition()
        self._due: list[float] = []
        """A heap of `time.monotonic()`."""
        self._offset = 0.0
        """The database's clock minus ours, in seconds."""
        self._connection: Connection | None = None
        self._read_at = time.monotonic()
        self._is_unannounced = False
        """Whether commands of later times were enqueued in SQL."""
        self._trailing: dict[due_times.Now, float] = {}
        """When to repeat a notification, by `time.monotonic()`."""
        self._outage = Outage("due_times.database_unreachable", "due_times.database_reachable")
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="due-times", daemon=True)

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def stop(self) -> None:
        """Make the thread end within a second; does not wait for it."""
        self._stop.set()

    def wake_until(
        self, until: float, wake: Callable[[], None], announce: Callable[[], None] | None = None
    ) -> None:
        """Call `wake` as often as commands fall due, until then (`time.monotonic()`).

        If that has passed, at most once: neither the sweeps nor due commands wait for each other,
        even if a wake-up takes longer than it takes until the next command falls due. `announce` is
        called if commands of later times were enqueued in SQL; this may return before `until`.
        """
        while (is_due := self.wait(until - time.monotonic())) or self._is_unannounced:
            if is_due:
                wake()
            if self._is_unannounced:
                self._is_unannounced = False
                if announce:
                    announce()
            if time.monotonic() >= until:
                return

    def wait(self, seconds: float) -> bool:
        """Wait until a command falls due, at most `seconds`; return whether one has.

        It also ends, with False, if commands of later times were enqueued in SQL. The caller wakes
        Celery. Each due time is reported, and once more if the command is still
        open when the times are read next.
        """
        self._cut_off_if_silent()
        until = time.monotonic() + seconds
        with self._changed:
            while not self._drop_due():
                now = time.monotonic()
                if now >= until or self._is_unannounced:
                    return False
                self._changed.wait(min(until, self._due[0] if self._due else until) - now)
            return True

    def _cut_off_if_silent(self) -> None:
        connection = self._connection
        if connection is not None and time.monotonic() - self._read_at > SILENT_SECONDS:
            log.warning("due_times.connection_cut", silent_for=SILENT_SECONDS)
            self._read_at = time.monotonic()
            due_times.cut_off(connection)

    def _drop_due(self) -> bool:
        """Remove the times that have come; return whether there were any."""
        now = time.monotonic()
        found = False
        while self._due and self._due[0] <= now:
            heappop(self._due)
            found = True
        return found

    def _run(self) -> None:
        while not self._stop.is_set():
            try:
                with due_times.open_listener(self._engine) as self._connection:
                    self._outage.end()
                    self._follow(self._connection)
            except DATABASE_ERRORS as error:
                self._outage.note(error)
            except Exception:  # a thread has no caller that would log it
                log.exception("due_times.failed", consequence="they are read again")
            self._connection = None
            self._stop.wait(RETRY_SECONDS)

    def _follow(self, connection: Connection) -> None:
        since: float | None = None
        while not self._stop.is_set():
            upcoming = due_times.read_upcoming(connection, since)
            self._replace(upcoming)
            since = upcoming.now
            self._read_at = time.monotonic()
            self._receive(connection, until=time.monotonic() + READ_EVERY_SECONDS)

    def _receive(self, connection: Connection, until: float) -> None:
        """Add notified times until then."""
        while (now := time.monotonic()) < until and not self._stop.is_set():
            self._add([each for each, at in self._trailing.items() if at <= now])
            self._trailing = {each: at for each, at in self._trailing.items() if at > now}
            left = min(until, *self._trailing.values(), inf) - now
            notified = due_times.wait_for_notification(connection, left)
            self._add(notified)
            if any(isinstance(each, float) for each in notified):
                until = min(until, time.monotonic() + NEXT_READ_SECONDS)
            for each in notified:
                if each is None or isinstance(each, str):
                    self._trailing[each] = time.monotonic() + TRAILING_SECONDS

    def _replace(self, upcoming: due_times.Upcoming) -> None:
        """Replace the coming times: cancelled and moved ones disappear.

        A time that has come and was not reported yet stays: a reading may not have it any more.
        """
        self._offset = upcoming.now - time.monotonic()
        with self._changed:
            now = time.monotonic()
            passed = [due for due in self._due if due <= now]
            read = [due - self._offset for due in upcoming.due]
            self._due = sorted([*passed, *read])  # a heap, too
            self._changed.notify()

    def _add(self, notified: Sequence[due_times.Notified]) -> None:
        """Add notified times; None means now."""
        now = time.monotonic()
        with self._changed:
            for each in notified:
                if each == due_times.ANNOUNCE:
                    self._is_unannounced = True
                else:
                    heappush(self._due, now if each is None else each - self._offset)
            self._changed.notify()
