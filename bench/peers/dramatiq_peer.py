# pyright: basic, reportMissingImports=false, reportMissingModuleSource=false
# The package is in the extra `bench`, not in the development lock.
"""Dramatiq on Redis: two processes with eight threads each, its defaults for two cores."""

import os
from collections.abc import Sequence

import dramatiq
from dramatiq.brokers.redis import RedisBroker

from bench.peers import work

broker = RedisBroker(url=os.environ["REDIS_URL"])
dramatiq.set_broker(broker)
WORKERS = [["dramatiq", "bench.peers.dramatiq_peer", "--processes", "2", "--threads", "8"]]
prepare = work.create_outbox


@dramatiq.actor
def publish_video(video_id: int) -> None:
    """Publish one video."""
    work.publish(video_id)


def open_sender() -> work.Send:
    """One message per video: Dramatiq has no call for many."""

    def send(video_ids: Sequence[int]) -> None:
        for video_id in video_ids:
            publish_video.send(video_id)

    return send
