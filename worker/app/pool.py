"""Celery's pool of processes: a killed one is replaced at once, and each one ends in order.

Celery's own has two gaps at the end of a worker. A task that was sent to a process, and that the
process had not reported yet, is forgotten: the process carries it out and then waits for half a
minute for its report to be read. A task of which a part was sent is not completed: the process
waits for the rest for ever, and the worker for the process.
"""

from multiprocessing.connection import wait
from typing import Any

from billiard.pool import RUN, TERMINATE, WorkersJoined
from celery.concurrency import asynpool
from celery.concurrency.prefork import TaskPool as CeleryTaskPool

LOOK_AGAIN_SECONDS = (0.1, 0.4)
"""After the end of a process was noticed: it cannot be reaped at once, and Celery's next look is
five seconds later."""
READ_SECONDS = 0.1
"""How long one look for reports waits."""

celery: Any = asynpool
"""Its module; it has no types."""


class ResultHandler(celery.ResultHandler):
    """Celery's reader of reports, which reads until every process has ended."""

    def on_stop_not_started(self) -> None:
        """Read the reports of the known tasks, then those that the processes end with."""
        super().on_stop_not_started()
        processes = self.fileno_to_outq

        def remove(fd: int) -> None:
            processes.pop(fd, None)

        while self._state != TERMINATE:
            for fd in wait(list(processes), READ_SECONDS):
                self._flush_outqueue(fd, remove, processes, self.on_state_change)
            try:
                self.join_exited_workers(shutdown=True)
            except WorkersJoined:
                return


class AsynPool(celery.AsynPool):
    """Celery's pool, which looks again soon after a process has ended, and forgets no sent task."""

    ResultHandler = ResultHandler

    def _event_process_exit(self, hub: Any, proc: Any) -> None:
        super()._event_process_exit(hub, proc)
        for seconds in LOOK_AGAIN_SECONDS:
            hub.call_later(seconds, self.maintain_pool)

    def flush(self) -> None:
        """Forget the tasks that no process has; at the end of the worker, send begun ones whole."""
        if self._state == RUN:  # the broker was lost: Celery completes them itself
            super().flush()
            return
        sent = {number: job for number, job in self._cache.items() if job._write_to}  # noqa: SLF001
        for job in sent.values():
            if writer := celery._get_job_writer(job):  # noqa: SLF001
                self._flush_writer(job._write_to, writer)  # noqa: SLF001
        super().flush()
        self._cache.update(sent)


class TaskPool(CeleryTaskPool):
    """Celery's prefork pool on ours."""

    Pool = AsynPool
