"""Beat's scheduler: sleeps until the next command falls due, and wakes Celery at that moment.

It also wakes Celery for new generation reports, and sends the sweeps of celeryconfig as Celery's
own scheduler does. It stores nothing, so it writes no file, and several beats at once do no harm:
an unnecessary wake-up finds no work.
"""

from datetime import UTC, datetime
from functools import cached_property, partial
from typing import Any

from celery.beat import Scheduler as CeleryScheduler

from worker.app import app
from worker.app.consumer import connect_quickly
from worker.app.due_times import DueTimes
from worker.app.report_listener import ReportListener
from worker.runtime.wake_ups import CANARY, REPORTS


class Scheduler(CeleryScheduler):
    """Celery's in-memory scheduler that also waits for due times and reports."""

    # The two threads start with the first tick: beat also makes schedulers that never tick.
    @cached_property
    def due_times(self) -> DueTimes:
        """The coming due times."""
        due_times = DueTimes(app.runtime.engine)
        due_times.start()
        return due_times

    @cached_property
    def report_listener(self) -> ReportListener:
        """The listener for generation reports."""
        wake = partial(app.runtime.waker.wake, REPORTS)
        report_listener = ReportListener(app.runtime.redis, wake)
        report_listener.start()
        return report_listener

    def setup_schedule(self) -> None:
        """Take the sweeps from celeryconfig; the first canary is due at once, for health."""
        super().setup_schedule()
        self.schedule[CANARY.task].last_run_at = datetime.fromtimestamp(0, UTC)

    def tick(self, *args: Any, **kwargs: Any) -> float:
        """Send the sweeps that are due, then wait for the next sweep or the next command."""
        seconds: float = super().tick(*args, **kwargs)
        due_times, _ = self.due_times, self.report_listener
        if due_times.wait(seconds):
            app.runtime.waker.wake()
        return 0.0

    def close(self) -> None:
        """Stop the threads; runs in a signal handler, so it waits for nothing."""
        for name in ("due_times", "report_listener"):
            if name in self.__dict__:
                self.__dict__[name].stop()
        super().close()

    def _ensure_connected(self) -> Any:
        return connect_quickly(self.connection)
