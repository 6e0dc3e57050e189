"""Beat's scheduler: sleeps until the next command falls due, and wakes Celery at that moment.

It also wakes Celery for new generation reports, and sends the sweeps of celeryconfig as Celery's
own scheduler does. It stores nothing, so it writes no file, and several beats at once do no harm:
an unnecessary wake-up finds no work.
"""

import time
from contextlib import suppress
from datetime import UTC, datetime
from functools import cached_property, partial
from typing import Any

from celery.beat import Scheduler as CeleryScheduler
from celery.beat import SchedulingError

from schemas.values.process import ProcessRole
from worker.app import app
from worker.app.consumer import connect_quickly
from worker.app.due_times import DueTimes
from worker.app.report_listener import ReportListener
from worker.app.transport import Channel
from worker.operations.processes import Identity, ProcessHeartbeat
from worker.runtime.broker_errors import BROKER_ERRORS, BrokerOutage
from worker.runtime.metrics import get_metrics
from worker.runtime.wake_ups import ANNOUNCE, CANARY, REPORTS, WAKE_UPS

QUEUE_OF = {wake_up.task: wake_up.queue for wake_up in WAKE_UPS}
MANY = 100
"""Messages in a queue of RabbitMQ, which cannot be searched, with which no sweep is added: it drops
expired ones, but only as they reach the head."""


class Scheduler(CeleryScheduler):
    """Celery's in-memory scheduler that also waits for due times and reports."""

    @cached_property
    def outage(self) -> BrokerOutage:
        """The log of the broker's outages."""
        return BrokerOutage()

    # The threads start with the first tick: beat also makes schedulers that never tick.
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

    @cached_property
    def process_heartbeat(self) -> ProcessHeartbeat:
        """What shows that beat runs."""
        identity = Identity.of_host(ProcessRole.BEAT)
        process_heartbeat = ProcessHeartbeat(app.runtime.engine, identity, identity.describe)
        process_heartbeat.start()
        return process_heartbeat

    def setup_schedule(self) -> None:
        """Take the sweeps from celeryconfig; the first canary is due at once, for health."""
        super().setup_schedule()
        self.schedule[CANARY.task].last_run_at = datetime.fromtimestamp(0, UTC)

    def tick(self, *args: Any, **kwargs: Any) -> float:
        """Send the sweeps that are due, then wake Celery for what falls due before the next one."""
        until: float = time.monotonic() + super().tick(*args, **kwargs)
        due_times, _, _ = self.due_times, self.report_listener, self.process_heartbeat
        wake = app.runtime.waker.wake
        due_times.wake_until(until, wake, announce=partial(wake, ANNOUNCE))
        return 0.0

    def close(self) -> None:
        """Stop the threads; runs in a signal handler, so it waits for two seconds at most."""
        for name in ("due_times", "report_listener", "process_heartbeat"):
            if name in self.__dict__:
                self.__dict__[name].stop()
        super().close()

    def apply_entry(self, entry: Any, producer: Any = None) -> None:
        """Send a sweep, unless one like it waits. An error is logged, not raised."""
        try:
            if not self._is_waiting(entry, producer):
                self.apply_async(entry, producer=producer, advance=False)
                get_metrics().sweeps.labels(entry.task).inc()
            self.outage.end()
        except (SchedulingError, *BROKER_ERRORS) as error:
            cause = error.__context__ if isinstance(error, SchedulingError) else error
            self.outage.note(cause or error)
            self._disconnect()

    def _is_waiting(self, entry: Any, producer: Any) -> bool:
        """Whether the queue has a sweep like this one already, as it does while no worker runs."""
        queue, channel = QUEUE_OF[entry.task], producer.channel
        waiting = channel.queue_declare(queue, durable=True, auto_delete=False).message_count
        if waiting and isinstance(channel, Channel):
            return channel.has_waiting(queue, entry.task)
        return waiting >= MANY

    def _disconnect(self) -> None:
        """Drop the connection: the next sweep opens one, as soon as there is a broker."""
        self.__dict__.pop("producer", None)
        connection = self.__dict__.pop("connection", None)
        with suppress(*BROKER_ERRORS):
            connection.release()

    def _ensure_connected(self) -> Any:
        return connect_quickly(self.connection, self.outage)
