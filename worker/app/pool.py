"""Celery's pool of processes; one that was killed is replaced within half a second."""

from typing import Any

from celery.concurrency import asynpool
from celery.concurrency.prefork import TaskPool as CeleryTaskPool

LOOK_AGAIN_SECONDS = (0.1, 0.4)
"""After the end of a process was noticed: it cannot be reaped at once, and Celery's next look is
five seconds later."""

CeleryAsynPool: Any = asynpool.AsynPool


class AsynPool(CeleryAsynPool):
    """Celery's pool, which looks again soon after a process has ended."""

    def _event_process_exit(self, hub: Any, proc: Any) -> None:
        super()._event_process_exit(hub, proc)
        for seconds in LOOK_AGAIN_SECONDS:
            hub.call_later(seconds, self.maintain_pool)


class TaskPool(CeleryTaskPool):
    """Celery's prefork pool on ours."""

    Pool = AsynPool
