"""Delivery: claim what is due, send it, write down what came of it, until nothing is left.

At least once: what a process held when it was killed is claimed again half a minute later, and
`webhook-id` tells doubles. The events of one video go to one endpoint in order: none is sent before
the one ahead of it was delivered, has failed for good, or was given up. (A replay starts anew from
wherever it is asked to.) Between videos nothing is promised.

A slow endpoint keeps nobody waiting: at most ten requests are in flight at each, one once it fails,
and whoever still waits for an answer when a run ends does so in the background: the loop and its
connections belong to the process, not to the run.
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
from schemas.values.delivery import Settled
from worker.events.redis_stream import cloud_event
from worker.webhooks.addresses import Resolve
from worker.webhooks.attempt import TIMEOUT_SECONDS, send
from worker.webhooks.connections import CheckedBackend, Lines
from worker.webhooks.results import WRITE_SECONDS, record_or_lose, settled

BUDGET_SECONDS = 5.0
"""After this long a run hands over to the next one, as in worker.publish.run."""
QUIET_SECONDS = 1.0
"""A run does not wait longer than this for anything to happen: then only the slow are left."""
LOOK_SECONDS = 0.05
"""How often it looks for new work meanwhile."""
IN_FLIGHT = 500
"""Requests of one process."""
PER_ENDPOINT = 10
"""Requests at one endpoint, of all processes."""
HOLD = timedelta(seconds=30)
"""How long a claim holds: for the longest try, and for writing down what came of it."""
WRITE_BATCH = 500

T = TypeVar("T")

log: structlog.stdlib.BoundLogger = structlog.stdlib.get_logger(__name__)


@dataclass(frozen=True, kw_only=True)
class Rules:
    """How this deployment sends."""

    base_url: str
    allow_private: bool
    resolve: Resolve | None = None
    """Looks names up; the system's unless a test says otherwise."""


class Courier:
    """A process's sender: a loop in a thread of its own, with connections that outlive a run."""

    def __init__(self, engine: Engine, rules: Rules) -> None:
        self._engine = engine
        self._rules = rules
        backend = CheckedBackend(allow_private=rules.allow_private, resolve=rules.resolve)
        self._lines = Lines(backend)
        self._database = ThreadPoolExecutor(2, thread_name_prefix="webhooks-database")
        self._in_hand: set[UUID] = set()
        self._sending: set[asyncio.Task[None]] = set()
        self._results: list[Settled] = []
        self._writing: asyncio.Task[None] | None = None
        self._written = asyncio.Event()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="webhooks", daemon=True)
        self._thread.start()

    def deliver(self, budget: float = BUDGET_SECONDS) -> bool:
        """Send what is due, until nothing is or the budget is used up; return whether it is.

        Answers that are slow to come are waited for in the background. Raises what the database
        raises when it is away.
        """
        return self._in_loop(self._run(budget))

    def close(self) -> None:
        """Wait for what is in flight, at most as long as a try takes, and end."""
        self._in_loop(self._finish())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()
        self._database.shutdown()

    def _in_loop(self, work: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result()

    async def _on_database(self, call: Callable[..., T], *args: Any) -> T:
        """In a thread: the loop has answers to read meanwhile."""
        return await self._loop.run_in_executor(self._database, call, *args)

    async def _run(self, budget: float) -> bool:
        await self._lines.close_idle()
        deadline = time.monotonic() + budget
        active = time.monotonic()
        mine: set[UUID] = set()
        while time.monotonic() < deadline:
            claimed = await self._on_database(claim, self._engine, IN_FLIGHT - len(self._in_hand))
            for delivery in claimed:
                self._start(delivery)
            mine = (mine & self._in_hand) | {delivery.id for delivery in claimed}
            if claimed or self._written.is_set():
                active = time.monotonic()
            elif not mine or time.monotonic() - active > QUIET_SECONDS:
                return False
            self._written.clear()
            with suppress(TimeoutError):
                await asyncio.wait_for(self._written.wait(), LOOK_SECONDS)
        return True

    def _start(self, delivery: ClaimedDelivery) -> None:
        self._in_hand.add(delivery.id)
        task = self._loop.create_task(self._deliver(delivery))
        self._sending.add(task)
        task.add_done_callback(partial(self._ended, delivery.id))

    def _ended(self, delivery_id: UUID, task: asyncio.Task[None]) -> None:
        self._sending.discard(task)
        error = task.exception()
        if error is not None:  # a bug: the claim runs out, and others go on
            self._in_hand.discard(delivery_id)
            log.error("webhooks.not_sent", delivery_id=str(delivery_id), exc_info=error)

    async def _deliver(self, delivery: ClaimedDelivery) -> None:
        body = cloud_event(delivery.event, self._rules.base_url)
        attempt = await send(
            self._lines,
            delivery.receiver,
            str(delivery.event.id),
            body,
            allow_private=self._rules.allow_private,
        )
        self._results.append(settled(delivery, attempt, random.random()))  # noqa: S311 - jitter
        if self._writing is None or self._writing.done():
            self._writing = self._loop.create_task(self._write())

    async def _write(self) -> None:
        """Write results down, as many at once as have come in during the write before."""
        while self._results:
            batch, self._results = self._results[:WRITE_BATCH], self._results[WRITE_BATCH:]
            try:
                await self._on_database(record_or_lose, self._engine, batch)
            finally:
                self._in_hand.difference_update(result.delivery_id for result in batch)
                self._written.set()

    async def _finish(self) -> None:
        if self._sending:
            await asyncio.wait(self._sending, timeout=TIMEOUT_SECONDS)
        if self._writing is not None:
            await asyncio.wait([self._writing], timeout=WRITE_SECONDS)
        await self._lines.close()


def claim(engine: Engine, limit: int) -> list[ClaimedDelivery]:
    """Take what is due, in a transaction of its own: nothing is sent before it is committed."""
    if limit <= 0:
        return []
    with transaction(engine) as tx:
        return deliveries.claim(tx, limit=limit, each=PER_ENDPOINT, hold=HOLD)
