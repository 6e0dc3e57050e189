# pyright: basic, reportMissingImports=false, reportMissingModuleSource=false
# The package is in the extra `bench`, not in the development lock.
"""Procrastinate: a queue in Postgres; asynchronous tasks, jobs deferred 500 at a time.

Two worker processes, each with a concurrency of eight (its guide: concurrency for tasks that wait).
"""

from collections.abc import Sequence
from functools import cache

import procrastinate
from procrastinate.types import JSONDict

from bench.peers import work

PER_CALL = 500
CONCURRENCY = work.CONNECTIONS

app = procrastinate.App(connector=procrastinate.PsycopgConnector(conninfo=work.database_url()))
_WORKER = ["procrastinate", "--app", "bench.peers.procrastinate_peer.app", "worker"]
WORKERS = [[*_WORKER, "--concurrency", str(CONCURRENCY), "--name", str(n)] for n in (1, 2)]
this_process = cache(work.AsyncWorker)


@app.task(name="publish_video")
async def publish_video(video_id: int) -> None:
    """Publish one video."""
    await this_process().publish(video_id)


def prepare() -> None:
    """Create the peers' outbox and Procrastinate's tables."""
    work.create_outbox()
    with app.open():
        app.schema_manager.apply_schema()


def open_sender() -> work.Send:
    """Defer 500 jobs with each call of `batch_defer`."""
    app.open()

    def send(video_ids: Sequence[int]) -> None:
        for first in range(0, len(video_ids), PER_CALL):
            jobs: list[JSONDict] = [
                {"video_id": video_id} for video_id in video_ids[first : first + PER_CALL]
            ]
            publish_video.batch_defer(*jobs)

    return send
