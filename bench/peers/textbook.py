"""Textbook Celery, tuned: one task per video, with what a good engineer would give it.

One kept producer (`delay` fetches one for each message), late acknowledgement, psycopg instead of
an ORM, one connection per process, no gossip, mingle or heartbeat between workers.
"""

import os
from collections.abc import Sequence
from contextlib import AbstractContextManager
from typing import Any

from celery import Celery

from bench.peers import work

PREFETCH = 4
"""Messages per process fetched ahead: Celery's default, and what its guide has for short tasks."""
QUIET = ("--without-gossip", "--without-mingle", "--without-heartbeat")

app = Celery("textbook")
app.conf.update(
    broker_url=os.environ.get("BROKER_URL"),
    task_default_queue="textbook",
    task_ignore_result=True,
    task_acks_late=True,  # or a killed worker loses the video that it works on
    worker_prefetch_multiplier=PREFETCH,
    broker_transport_options={"global_keyprefix": "textbook:"},
)

WORKERS = [["celery", "-A", "bench.peers.textbook", "worker", "-c", "2", "-O", "fair", *QUIET]]
prepare = work.create_outbox


@app.task(name="textbook.publish_video")
def publish_video(video_id: int) -> None:
    """Publish one video."""
    work.publish(video_id)


def open_sender() -> work.Send:
    """One message per video, over one kept producer."""
    kept: AbstractContextManager[Any] = app.producer_or_acquire()
    producer = kept.__enter__()

    def send(video_ids: Sequence[int]) -> None:
        for video_id in video_ids:
            publish_video.apply_async((video_id,), producer=producer)

    return send
