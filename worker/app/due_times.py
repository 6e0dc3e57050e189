"""The agenda: when the next command falls due, kept by a thread that reads and hears of it.

It reads the coming seconds once a second, and hears at once of what falls due sooner. Whatever it
misses, the sweep finds: nothing here is needed for anything but punctuality.
"""

import threading
import time
from heapq import heappop, heappush

import structlog
from sqlalchemy import Engine

from db.commands import due_times
from db.errors import DATABASE_ERRORS
from db.session import Connection

READ_EVERY_SECONDS = 1.0
RETRY_SECONDS = 0.5
"""After the database was away."""
SILENT_SECONDS = 10.0
"""A read that takes so long gets no answer any more: the connection is cut off, and made anew."""

log: structlog.stdlib.BoundLogger = structlog.stdlib.get_logger(__name__)


class Agenda:
    """Knows the coming due times by this machine's steady clock."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._changed = threading.Condition()
        self._due: list[float] = []
        """A heap of `time.monotonic()`."""
        self._offset = 0.0
        """The database's clock minus ours."""
        self._connection: Connection | None = None
        self._read_at = time.monotonic()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._keep, name="agenda", daemon=True)

    def start(self) -> None:
        """Begin to read and hear."""
        self._thread.start()

    def stop(self) -> None:
        """End within a second; nobody need wait for that."""
        self._stop.set()

    def wait(self, seconds: float) -> bool:
        """Wait until something falls due, at most so long; True if something has.

        What has fallen due is forgotten: whoever is told, acts.
        """
        self._cut_off_if_silent()
        until = time.monotonic() + seconds
        with self._changed:
            while not self._take_due():
                now = time.monotonic()
                if now >= until:
                    return False
                self._changed.wait(min(until, self._due[0] if self._due else until) - now)
            return True

    def _cut_off_if_silent(self) -> None:
        connection = self._connection
        if connection is not None and time.monotonic() - self._read_at > SILENT_SECONDS:
            log.warning("agenda.cut_off", silent_for=SILENT_SECONDS)
            self._read_at = time.monotonic()
            due_times.cut_off(connection)

    def _take_due(self) -> bool:
        now = time.monotonic()
        taken = False
        while self._due and self._due[0] <= now:
            heappop(self._due)
            taken = True
        return taken

    def _keep(self) -> None:
        while not self._stop.is_set():
            try:
                with due_times.listening(self._engine) as self._connection:
                    self._follow(self._connection)
            except DATABASE_ERRORS as error:
                log.warning("agenda.database_away", error=str(error).strip())
            except Exception:
                log.exception("agenda.failed", consequence="it begins anew")  # a thread has nobody
            self._connection = None
            self._stop.wait(RETRY_SECONDS)

    def _follow(self, connection: Connection) -> None:
        while not self._stop.is_set():
            self._note(due_times.upcoming(connection))
            self._read_at = time.monotonic()
            again = time.monotonic() + READ_EVERY_SECONDS
            while (left := again - time.monotonic()) > 0 and not self._stop.is_set():
                self._hear(due_times.heard(connection, left))

    def _note(self, upcoming: due_times.Upcoming) -> None:
        """Replace what is known of the time to come: what was changed or cancelled is gone from it.

        What has come already and was not taken yet, stays: it is in no reading any more.
        """
        self._offset = upcoming.now - time.monotonic()
        with self._changed:
            now = time.monotonic()
            passed = sorted(due for due in self._due if due <= now)
            coming = [due - self._offset for due in upcoming.due]
            self._due = [*passed, *(due for due in coming if due > now)]  # sorted, so a heap
            self._changed.notify()

    def _hear(self, due: list[float | None]) -> None:
        now = time.monotonic()
        with self._changed:
            for each in due:
                heappush(self._due, now if each is None else each - self._offset)
            self._changed.notify()
