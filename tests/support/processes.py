"""Real Celery processes, started and ended by a test with real signals."""

import os
import signal
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from celery import Celery as CeleryApp
from celery.__main__ import main

from db.commands.canary import VIDEO_ID as CANARY
from tests.support.forked import Forked
from tests.support.pipeline import Pipeline
from tests.support.waiting import PATIENCE, wait_until

ROOT = Path(__file__).parents[2]


class Celery:
    """One `celery -A worker.app …` process and its log."""

    def __init__(
        self, log: Path, urls: Mapping[str, str], *arguments: str, main: Callable[[], object] = main
    ) -> None:
        self.log = log
        environment = {
            **os.environ,
            **urls,
            "PUBLIC_BASE_URL": "https://videos.example",
            "LOG_FORMAT": "json",
            "TMPDIR": str(log.parent),  # a killed worker leaves a folder of shared memory there
        }
        log.touch()
        self.process = Forked(
            main, ["celery", "-A", "worker.app", *arguments], log=log, environment=environment
        )

    @property
    def is_running(self) -> bool:
        """Whether the main process lives."""
        return self.process.poll() is None

    def says(self, text: str) -> bool:
        """Whether the log has a text."""
        return text in self.log.read_text()

    def assert_no_traceback(self) -> None:
        """Fail, with the lines around it, if the log has a traceback."""
        said = self.log.read_text()
        start = said.find("Traceback")
        assert start < 0, said[max(0, start - 1000) : start + 3000]

    def wait_for(self, text: str) -> None:
        """Wait until the log has a text; fail at once if the process dies first."""
        wait_until(lambda: self.says(text) or not self.is_running, f"{text!r} in {self.log.name}")
        assert self.says(text), self.log.read_text()[-3000:]

    def kill(self) -> None:
        """SIGKILL the main process and its pool at once: no handler runs."""
        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()

    def begin_end(self) -> None:
        """Ask the main process to end, and wait until it reads no more messages."""
        self.process.send_signal(signal.SIGTERM)
        self.process.wait_until_in("_shutdown")

    def stop(self, number: signal.Signals = signal.SIGTERM, timeout: float = PATIENCE) -> int:
        """Ask the main process to end, and return its exit code; fail with its stacks."""
        self.process.send_signal(number)
        return self.process.wait(timeout)


class Celeries:
    """Starts Celery processes on one database and one Redis; ends what is left."""

    def __init__(self, folder: Path, **urls: str) -> None:
        self.folder = folder
        self.urls = urls
        self.started: list[Celery] = []

    def worker(self, concurrency: int = 1) -> Celery:
        """Start a worker and wait until it consumes."""
        worker = self.start("worker", f"--concurrency={concurrency}")
        worker.wait_for("ready.")
        return worker

    def beat(self) -> Celery:
        """Start beat."""
        return self.start("beat")

    def start(self, kind: str, *arguments: str, main: Callable[[], object] = main) -> Celery:
        """Start a worker or beat without waiting for anything; `main` runs Celery."""
        log = self.folder / f"{kind}-{len(self.started)}.log"
        name = f"--hostname={kind}{len(self.started)}@%h"
        named = (*arguments, name) if kind == "worker" else arguments
        celery = Celery(log, self.urls, kind, "--loglevel=INFO", *named, main=main)
        self.started.append(celery)
        return celery

    def end(self) -> None:
        """Kill whatever still runs."""
        for celery in self.started:
            if celery.is_running:
                celery.kill()


@contextmanager
def broker_only(redis_url: str) -> Generator[Callable[..., object]]:
    """`send_task` of a producer that has only the broker, as the README shows it."""
    producer = CeleryApp(broker=redis_url, set_as_current=False)
    producer.conf.broker_transport_options = {"global_keyprefix": "publish-worker:celery:"}
    yield partial(producer.send_task, queue="publish")
    producer.close()


@contextmanager
def celeries(
    folder: Path, database_url: str, redis_url: str, broker_url: str | None = None
) -> Generator[Celeries]:
    """Start Celery processes as needed; none outlives the block."""
    broker = {"BROKER_URL": broker_url} if broker_url else {}
    started = Celeries(folder, DATABASE_URL=database_url, REDIS_URL=redis_url, **broker)
    try:
        yield started
    finally:
        started.end()


def count_published(pipeline: Pipeline) -> int:
    """How many videos have been published. The canary's, which beat publishes, does not count."""
    return pipeline.value(
        "SELECT count(*) FROM publisher.video_release WHERE video_id <> %s", CANARY
    )
