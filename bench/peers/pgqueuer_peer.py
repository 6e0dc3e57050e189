# pyright: basic, reportMissingImports=false, reportMissingModuleSource=false
# The package is in the extra `bench`, not in the development lock.
"""PgQueuer with psycopg: a queue in Postgres; two processes, batches of 100, 500 jobs a call."""

import asyncio
import signal
from collections.abc import Sequence

import psycopg
import uvloop
from pgqueuer import PgQueuer
from pgqueuer.db import PsycopgDriver
from pgqueuer.models import Job
from pgqueuer.queries import Queries

from bench.peers import work

PER_CALL = 500
ENTRYPOINT = "publish_video"
BATCH = 100
WORKERS = [["bench.peers.pgqueuer_peer"]] * 2


async def main() -> None:
    """Run a worker until SIGTERM, on uvloop as `pgq run`, whose 1.6.0 fails on its log level."""
    connection = await psycopg.AsyncConnection.connect(work.database_url(), autocommit=True)
    consumer = PgQueuer(PsycopgDriver(connection))
    worker = work.AsyncWorker()

    @consumer.entrypoint(ENTRYPOINT)
    async def publish_video(job: Job) -> None:
        assert job.payload is not None
        await worker.publish(int(job.payload))

    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, consumer.shutdown.set)
    await consumer.run(batch_size=BATCH)


async def _connect() -> Queries:
    connection = await psycopg.AsyncConnection.connect(work.database_url(), autocommit=True)
    return Queries(PsycopgDriver(connection))


def prepare() -> None:
    """Create the peers' outbox and PgQueuer's tables."""
    work.create_outbox()

    async def install() -> None:
        await (await _connect()).install()

    asyncio.run(install())


def open_sender() -> work.Send:
    """Enqueue 500 jobs with each call."""
    loop = asyncio.new_event_loop()
    queries = loop.run_until_complete(_connect())

    def send(video_ids: Sequence[int]) -> None:
        for first in range(0, len(video_ids), PER_CALL):
            part: list[bytes | None] = [
                str(each).encode() for each in video_ids[first : first + PER_CALL]
            ]
            count = len(part)
            loop.run_until_complete(queries.enqueue([ENTRYPOINT] * count, part, [0] * count))

    return send


if __name__ == "__main__":
    uvloop.run(main())
