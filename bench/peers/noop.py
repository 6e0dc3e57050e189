"""Celery with a task that does nothing: its ceiling, not the same work.

Settings and producer are those of the tuned textbook worker.
"""

from collections.abc import Sequence

from bench.peers import textbook, work

app = textbook.app
WORKERS = [[word.replace("textbook", "noop") for word in command] for command in textbook.WORKERS]
QUEUE = "textbook:textbook"
UNACKNOWLEDGED = "textbook:unacked"
"""The keys of Kombu that are empty when everything is done."""


def prepare() -> None:
    """Do nothing: no table is used."""


@app.task(name="noop.do_nothing")
def do_nothing(video_id: int) -> None:
    """Do nothing."""


def open_sender() -> work.Send:
    """One message per video, over one kept producer."""
    producer = app.producer_or_acquire().__enter__()

    def send(video_ids: Sequence[int]) -> None:
        for video_id in video_ids:
            do_nothing.apply_async((video_id,), producer=producer)

    return send
