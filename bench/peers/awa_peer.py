# pyright: basic, reportMissingImports=false, reportMissingModuleSource=false
# The package is in the extra `bench`, not in the development lock.
"""awa-pg: a queue in Postgres with a core in Rust and handlers in Python.

Two processes with eight handlers each; jobs are enqueued with COPY, as its guide has for many.
"""

import asyncio
import re
import signal
from collections.abc import Sequence
from dataclasses import dataclass

from awa import AsyncClient, Client, Job

from bench.peers import work

QUEUE = "publish"
PER_CALL = 500
HANDLERS = work.CONNECTIONS
WORKERS = [["bench.peers.awa_peer"]] * 2


@dataclass
class PublishVideo:
    video_id: int


def database_url() -> str:
    """The run's database; awa's driver needs a host before the parameters, which override it."""
    return re.sub("@/", "@localhost/", work.database_url())


def prepare() -> None:
    """Create the peers' outbox and awa's tables."""
    work.create_outbox()
    with Client(database_url()) as client:
        client.migrate()
        client.install_queue_storage()  # COPY needs it before the first worker has started


def open_sender() -> work.Send:
    """Enqueue 500 jobs with each COPY."""
    client = Client(database_url())

    def send(video_ids: Sequence[int]) -> None:
        for first in range(0, len(video_ids), PER_CALL):
            jobs = [PublishVideo(video_id) for video_id in video_ids[first : first + PER_CALL]]
            client.enqueue_many_copy(jobs, queue=QUEUE)

    return send


async def main() -> None:
    """Run a worker until SIGTERM."""
    client, worker, stop = AsyncClient(database_url()), work.AsyncWorker(), asyncio.Event()

    @client.task(PublishVideo, queue=QUEUE)
    async def publish_video(job: Job) -> None:
        await worker.publish(job.args.video_id)

    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    await client.start([(QUEUE, HANDLERS)])
    await stop.wait()
    await client.shutdown()


if __name__ == "__main__":
    asyncio.run(main())
