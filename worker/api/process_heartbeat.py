"""The API's heartbeat: a task of its event loop writes the row of this process."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress

import structlog

from db import processes
from db.errors import DATABASE_ERRORS
from db.loop_sessions import LoopPool
from schemas.values.process import ProcessRole
from worker.operations.processes import (
    END_SECONDS,
    PAUSE_SECONDS,
    RETRY_SECONDS,
    Identity,
    make_outage,
)

log: structlog.stdlib.BoundLogger = structlog.stdlib.get_logger(__name__)


@asynccontextmanager
async def report_process(pool: LoopPool) -> AsyncGenerator[None]:
    """While the block runs, write a heartbeat every few seconds; then remove the row."""
    identity = Identity.of_host(ProcessRole.API)
    task = asyncio.create_task(_beat_for_ever(pool, identity))
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        with suppress(TimeoutError, *DATABASE_ERRORS):
            async with asyncio.timeout(END_SECONDS):
                await pool.run_statements(processes.remove, identity.id)


async def _beat_for_ever(pool: LoopPool, identity: Identity) -> None:
    outage = make_outage()
    while True:
        try:
            await pool.run_statements(processes.beat, identity.describe())
        except DATABASE_ERRORS as error:
            outage.note(error)
            await asyncio.sleep(RETRY_SECONDS)
            continue
        except Exception:  # a task has no caller that would log it
            log.exception("process.heartbeat_failed", consequence="it is tried again")
            await asyncio.sleep(PAUSE_SECONDS)
            continue
        outage.end()
        await asyncio.sleep(PAUSE_SECONDS)
