"""Heartbeats of processes: a thread writes this process's row, and a page of memory its activity.

Celery's remote control and events are off (celeryconfig.py), so this shows which workers run. A
process that is killed leaves a row without new heartbeats; one that ends in order removes its own.
"""

import mmap
import os
import socket
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from enum import IntEnum
from importlib.metadata import PackageNotFoundError, version
from uuid import UUID, uuid4

import structlog
from sqlalchemy import Engine

from db import processes
from db.errors import DATABASE_ERRORS
from db.processes import ProcessState
from db.session import transaction
from schemas.values.process import ProcessRole
from worker.runtime.outage import Outage

PAUSE_SECONDS = 5.0
"""Between two heartbeats."""
RETRY_SECONDS = 1.0
"""After one that could not be written."""
END_SECONDS = 2.0
"""How long the end of a process may wait for the removal of its row."""

log: structlog.stdlib.BoundLogger = structlog.stdlib.get_logger(__name__)


class Work(IntEnum):
    """What a worker does; the number is its place in the page of memory."""

    BATCH = 0
    RELAY = 1
    DELIVERY = 2


class Activity:
    """When a worker last did each kind of work, over all processes of its pool.

    The main process makes it before the pool is forked: they share the memory. A note costs no
    query and no message.
    """

    def __init__(self) -> None:
        self._times = memoryview(mmap.mmap(-1, mmap.PAGESIZE)).cast("d")

    def note(self, work: Work) -> None:
        """Note that some work was done just now."""
        self._times[work] = time.monotonic()

    def get_age(self, work: Work) -> float | None:
        """Return how many seconds ago that was; None: never."""
        at: float = self._times[work]
        return time.monotonic() - at if at else None


@dataclass(frozen=True, kw_only=True)
class Identity:
    """What a process says about itself for as long as it lives."""

    role: ProcessRole
    name: str
    id: UUID = field(default_factory=uuid4)
    began: float = field(default_factory=time.monotonic)

    @classmethod
    def of_host(cls, role: ProcessRole) -> "Identity":
        """Return the identity of a process that Celery has not named."""
        return cls(role=role, name=f"{role}@{socket.gethostname()}")

    def describe(self) -> ProcessState:
        """Return the process's state now."""
        return ProcessState(
            id=self.id,
            role=self.role,
            name=self.name,
            pid=os.getpid(),
            version=read_version(),
            processes=1,
            queues=[],
            age=time.monotonic() - self.began,
        )


def describe_worker(
    identity: Identity, activity: Activity, queues: list[str], count: int
) -> ProcessState:
    """Return a worker's state now; `count` is the number of its pool's processes."""
    return replace(
        identity.describe(),
        processes=count,
        queues=queues,
        batch_age=activity.get_age(Work.BATCH),
        relay_age=activity.get_age(Work.RELAY),
        delivery_age=activity.get_age(Work.DELIVERY),
    )


class ProcessHeartbeat:
    """A thread that writes this process's row every few seconds.

    It outlives every outage of the database, and never ends the process.
    """

    def __init__(
        self,
        engine: Engine,
        identity: Identity,
        describe: Callable[[], ProcessState],
        *,
        owns_engine: bool = False,
        pause_seconds: float = PAUSE_SECONDS,
    ) -> None:
        self._engine = engine
        self._id = identity.id
        self._describe = describe
        self._owns_engine = owns_engine
        self._pause = pause_seconds
        self._outage = make_outage()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="process-heartbeat", daemon=True)

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def stop(self) -> None:
        """Make the thread remove the row and end; wait for it for a moment."""
        self._stop.set()
        self._thread.join(END_SECONDS)

    def _run(self) -> None:
        while not self._stop.is_set():
            self._stop.wait(self._beat())
        self._end()

    def _beat(self) -> float:
        """Write the row; return the seconds until the next one."""
        try:
            with transaction(self._engine) as tx:
                processes.beat(tx, self._describe())
        except DATABASE_ERRORS as error:
            self._outage.note(error)
            return RETRY_SECONDS
        except Exception:  # a thread has no caller that would log it
            log.exception("process.heartbeat_failed", consequence="it is tried again")
            return self._pause
        self._outage.end()
        return self._pause

    def _end(self) -> None:
        try:
            with transaction(self._engine) as tx:
                processes.remove(tx, self._id)
        except DATABASE_ERRORS as error:
            self._outage.note(error)
        if self._owns_engine:
            self._engine.dispose()


def make_outage() -> Outage:
    """Return the log of the heartbeats' outages."""
    return Outage("process.heartbeat_lost", "process.heartbeat_found")


def read_version() -> str:
    """Return the version of publish-worker; "unknown" in a folder that is not installed."""
    try:
        return version("publish-worker")
    except PackageNotFoundError:
        return "unknown"
