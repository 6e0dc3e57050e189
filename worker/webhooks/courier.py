"""The courier: claim due deliveries, send them and write the results, until none is left.

Delivery is at least once. The claims of a killed process expire after half a minute, and the events
are sent again with the same `webhook-id`. The events of one video reach an endpoint in order: an
event is sent only after the one before it was delivered, failed for good or was cancelled. (A
replay starts again at the position it is given.) Videos are independent of each other.

A slow endpoint does not delay others, nor does a workspace with many of them. At most ten requests
are in flight per endpoint, one while it fails, and a hundred per workspace; the workspace with the
fewest requests in flight is served first. Requests that are still unanswered at the end of a run
continue in the background: the event loop and its connections belong to the process, not to the
run.
"""

import asyncio
import random
import threading
import time
from collections.abc import Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from typing import Any, TypeVar
from uuid import UUID

import structlog
from sqlalchemy import Engine

from db.session import transaction
from db.webhooks import deliveries
from db.webhooks.deliveries import ClaimedDelivery
from publish_worker_client.events.cloud_event import to_cloud_event
from schemas.values.delivery import Attempt, DeliveryResult
from worker.runtime.budget import RUN_SECONDS, Budget
from worker.runtime.metrics import get_metrics
from worker.webhooks.attempt import TIMEOUT_SECONDS, make_attempt
from worker.webhooks.connections import Connections
from worker.webhooks.look_ups import LookUps, Resolve
from worker.webhooks.results import WRITE_SECONDS, to_result, try_write_results
from worker.webhooks.spans import trace_attempt

QUIET_SECONDS = 1.0
"""A run ends after this long without a result: then only slow requests are left."""
POLL_SECONDS = 0.05
"""A run looks for new work this often while it waits for results."""
IN_FLIGHT = 500
"""Requests in flight per process."""
PER_ENDPOINT = 10
"""Requests in flight per endpoint, from all processes."""
PER_WORKSPACE = 100
"""Requests in flight per workspace, from all processes: a part of what one process has."""
LEASE = timedelta(seconds=30)
"""How long a claim lasts: longer than an attempt and the write of its result."""
WRITE_BATCH = 500

T = TypeVar("T")

log: structlog.stdlib.BoundLogger = structlog.stdlib.get_logger(__name__)


@dataclass(frozen=True, kw_only=True)
class CourierOptions:
    """How this deployment sends webhooks."""

    base_url: str
    """The public URL of the API, for links in events."""
    allow_private: bool
    """Whether private addresses and plain HTTP are allowed, for development."""
    resolve: Resolve | None = None
    """The name look-up; None: the system's."""
    on_results: Callable[[], None] | None = None
    """Called when results were written."""


class Courier:
    """The sender of one process: an event loop in a thread, with connections that outlive a run."""

    def __init__(self, engine: Engine, options: CourierOptions) -> None:
        self._engine = engine
        self._options = options
        self._connections = Connections(
            LookUps(options.resolve), allow_private=options.allow_private
        )
        self._database = ThreadPoolExecutor(2, thread_name_prefix="webhooks-database")
        self._in_flight: set[UUID] = set()
        self._sending: set[asyncio.Task[None]] = set()
        self._results: list[DeliveryResult] = []
        self._writing: asyncio.Task[None] | None = None
        self._written = asyncio.Event()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="webhooks", daemon=True)
        self._thread.start()

    def send_due(self, seconds: float = RUN_SECONDS) -> bool:
        """Send due deliveries until none is left or `seconds` are over; return whether more is due.

        Slow answers are awaited in the background. Raises the errors of an unreachable database.
        """
        return self._run_in_loop(self._run(Budget(seconds)))

    def close(self) -> None:
        """Wait for the requests in flight, for up to one attempt's timeout, and stop."""
        self._run_in_loop(self._finish())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()
        self._database.shutdown()

    def _run_in_loop(self, work: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result()

    async def _run_in_thread(self, call: Callable[..., T], *args: Any) -> T:
        """Call the database in a thread, so that the loop goes on reading answers."""
        return await self._loop.run_in_executor(self._database, call, *args)

    async def _run(self, budget: Budget) -> bool:
        await self._connections.close_idle()
        active = time.monotonic()
        of_this_run: set[UUID] = set()
        while not budget.is_spent:
            free = IN_FLIGHT - len(self._in_flight)
            claimed = await self._run_in_thread(claim, self._engine, free)
            for delivery in claimed:
                self._start(delivery)
            of_this_run = (of_this_run & self._in_flight) | {each.id for each in claimed}
            if claimed or self._written.is_set():
                active = time.monotonic()
            elif not of_this_run or time.monotonic() - active > QUIET_SECONDS:
                return False
            self._written.clear()
            with suppress(TimeoutError):
                await asyncio.wait_for(self._written.wait(), POLL_SECONDS)
        return True

    def _start(self, delivery: ClaimedDelivery) -> None:
        self._in_flight.add(delivery.id)
        task = self._loop.create_task(self._send(delivery))
        self._sending.add(task)
        task.add_done_callback(partial(self._note_end, delivery.id))

    def _note_end(self, delivery_id: UUID, task: asyncio.Task[None]) -> None:
        self._sending.discard(task)
        error = task.exception()
        if error is not None:  # a bug here, not in the attempt: the claim expires
            self._in_flight.discard(delivery_id)
            log.error("webhooks.not_sent", delivery_id=str(delivery_id), exc_info=error)

    async def _send(self, delivery: ClaimedDelivery) -> None:
        span = trace_attempt(delivery)
        attempt = await make_attempt(
            self._connections,
            delivery.receiver,
            str(delivery.event.id),
            partial(to_cloud_event, delivery.event, self._options.base_url),
            allow_private=self._options.allow_private,
            traceparent=None if span is None else span.traceparent,
        )
        record_attempt(attempt)
        if span is not None:
            span.end(attempt)
        self._results.append(to_result(delivery, attempt, random.random()))  # noqa: S311 - jitter
        if self._writing is None or self._writing.done():
            self._writing = self._loop.create_task(self._write())

    async def _write(self) -> None:
        """Write results in batches: those that arrived during a write are the next batch."""
        while self._results:
            batch, self._results = self._results[:WRITE_BATCH], self._results[WRITE_BATCH:]
            try:
                await self._run_in_thread(try_write_results, self._engine, batch)
            finally:
                self._in_flight.difference_update(result.delivery_id for result in batch)
                self._written.set()
            if self._options.on_results:
                self._options.on_results()

    async def _finish(self) -> None:
        if self._sending:
            await asyncio.wait(self._sending, timeout=TIMEOUT_SECONDS)
        if self._writing is not None:
            await asyncio.wait([self._writing], timeout=WRITE_SECONDS)
        self._connections.close()


def record_attempt(attempt: Attempt) -> None:
    """Count an attempt by the class of its answer's status."""
    metrics = get_metrics()
    metrics.webhook_attempts.labels(
        f"{attempt.status // 100}xx" if attempt.status else "none"
    ).inc()
    metrics.webhook_duration.observe(attempt.duration_ms / 1000)


def claim(engine: Engine, limit: int) -> list[ClaimedDelivery]:
    """Claim due deliveries in a transaction of its own: they are sent only after its commit."""
    if limit <= 0:
        return []
    with transaction(engine) as tx:
        return deliveries.claim(
            tx, limit=limit, each=PER_ENDPOINT, of_workspace=PER_WORKSPACE, lease=LEASE
        )
