"""Beat's scheduler: Celery's own, in memory, but never long away from a broker that is back."""

from typing import Any

from celery.beat import Scheduler as CeleryScheduler

from worker.consumer import connect_soon


class Scheduler(CeleryScheduler):
    """Sends the sweeps of celeryconfig: all there is to remember, so no file is written."""

    def _ensure_connected(self) -> Any:
        return connect_soon(self.connection)
