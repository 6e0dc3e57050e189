"""Beat's scheduler: sleeps until the next command falls due, and wakes Celery at that moment.

It hears generation reports come in, too, and wakes Celery for them; and it sends the sweeps of
celeryconfig, as Celery's own does. It remembers nothing, so no file is written, and two or more of
them at once do no harm: a wake-up too many finds nothing.
"""

from datetime import UTC, datetime
from functools import cached_property, partial
from typing import Any

from celery.beat import Scheduler as CeleryScheduler

from worker.app import app
from worker.app.consumer import connect_soon
from worker.app.due_times import Agenda
from worker.app.report_listener import Hearing
from worker.runtime.wake_ups import CANARY, REPORTS


class Scheduler(CeleryScheduler):
    """Celery's in-memory scheduler, with an agenda, and never long away from its broker."""

    @cached_property
    def agenda(self) -> Agenda:
        """Kept from the first tick on: beat makes schedulers that it only looks at, too."""
        agenda = Agenda(app.runtime.engine)
        agenda.start()
        return agenda

    @cached_property
    def hearing(self) -> Hearing:
        """Kept from the first tick on, too."""
        hearing = Hearing(app.runtime.redis, partial(app.runtime.waker.wake, REPORTS))
        hearing.start()
        return hearing

    def setup_schedule(self) -> None:
        """Take the sweeps from celeryconfig; the canary flies at once, so that health is known."""
        super().setup_schedule()
        self.schedule[CANARY.task].last_run_at = datetime.fromtimestamp(0, UTC)

    def tick(self, *args: Any, **kwargs: Any) -> float:
        """Send what is due of the sweeps, then wait for the next sweep or the next command."""
        seconds: float = super().tick(*args, **kwargs)
        agenda, _ = self.agenda, self.hearing
        if agenda.wait(seconds):
            app.runtime.waker.wake()
        return 0.0

    def close(self) -> None:
        """Stop the threads; runs in a signal handler, so nothing is waited for."""
        for part in ("agenda", "hearing"):
            if part in self.__dict__:
                self.__dict__[part].stop()
        super().close()

    def _ensure_connected(self) -> Any:
        return connect_soon(self.connection)
