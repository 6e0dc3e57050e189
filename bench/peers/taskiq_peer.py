# pyright: basic, reportMissingImports=false, reportMissingModuleSource=false
# The package is in the extra `bench`, not in the development lock.
"""Taskiq on a Redis stream with acknowledgements: two processes, asynchronous tasks.

The worker's options are its defaults, up to 100 tasks at a time in a process; no result is kept.
"""

import asyncio
import os
from collections.abc import Sequence
from functools import cache

from taskiq_redis import RedisStreamBroker

from bench.peers import work

AT_ONCE = 50
"""Messages that the producer sends at the same time, over as many connections."""

broker = RedisStreamBroker(url=os.environ["REDIS_URL"], consumer_id="0")
WORKERS = [["taskiq", "worker", "bench.peers.taskiq_peer:broker", "--workers", "2"]]
prepare = work.create_outbox
this_process = cache(work.AsyncWorker)


@broker.task
async def publish_video(video_id: int) -> None:
    """Publish one video."""
    await this_process().publish(video_id)


def open_sender() -> work.Send:
    """One `kiq()` per video, fifty at a time."""
    loop = asyncio.new_event_loop()
    loop.run_until_complete(broker.startup())

    async def send_all(video_ids: Sequence[int]) -> None:
        for first in range(0, len(video_ids), AT_ONCE):
            part = video_ids[first : first + AT_ONCE]
            await asyncio.gather(*(publish_video.kiq(video_id) for video_id in part))

    def send(video_ids: Sequence[int]) -> None:
        loop.run_until_complete(send_all(video_ids))

    return send
