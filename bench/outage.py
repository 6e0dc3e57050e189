"""After an outage: how soon what is overdue is out, and how late what falls due meanwhile."""

import threading
import time
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from itertools import islice
from statistics import median
from uuid import UUID

from bench import ours
from bench.part import Work
from bench.punctuality import await_published, times
from bench.report import Report, at_most, spread
from bench.setup import Run, Setup

GOAL_SECONDS = 3.0
"""From the moment that the worker first consumes until everything overdue is committed."""
GOAL_FRESH_MS = 500.0
"""The most that a command is late that falls due in that time."""
EVERY_SECONDS = 0.1
"""How often one falls due."""


@dataclass(frozen=True, kw_only=True)
class Outage:
    """One recovery."""

    overdue: int
    seconds: float
    """From the worker's first sign of life until the last of them was committed."""
    from_start: float
    """The same from the start of its process: imports and connections included."""
    meanwhile: list[float]
    """How late each command was that fell due in that time, in milliseconds."""


@dataclass(frozen=True, kw_only=True)
class Outages:
    """Several recoveries."""

    rounds: list[Outage]

    @property
    def seconds(self) -> float:
        """The median of the rounds."""
        return median(each.seconds for each in self.rounds)

    @property
    def latest(self) -> float:
        """How late the latest was of what fell due meanwhile; the median of the rounds."""
        return median(max(each.meanwhile, default=0.0) for each in self.rounds)


def measure(setup: Setup, *, runs: int, overdue: int) -> Outages:
    """Let commands become due while no worker runs, then start worker and beat."""
    return Outages(rounds=[_recover(setup, overdue) for _ in range(runs)])


def _recover(setup: Setup, overdue: int) -> Outage:
    with setup.run() as run:
        videos = iter(run.video_ids)
        late = ours.accept(run, ((each, None) for each in islice(videos, overdue)))
        started = time.time()
        with ours.worker(run):
            alive = time.time()
            with _producer(run, list(islice(videos, 1_000))) as fresh:
                await_published(run, late)
            await_published(run, fresh)
        ended = max(due + lateness / 1_000 for lateness, _, due in times(run, late))
        meanwhile = [row[0] for row in times(run, fresh) if row[2] <= ended]
    return Outage(
        overdue=overdue,
        seconds=ended - alive,
        from_start=ended - started,
        meanwhile=meanwhile,
    )


@contextmanager
def _producer(run: Run, video_ids: list[int]) -> Generator[list[UUID]]:
    """Enqueue a command that is due now, again and again while the context lasts; gives the ids."""
    fresh: list[UUID] = []
    stop = threading.Event()

    def enqueue() -> None:
        for video_id in video_ids:
            fresh.extend(ours.accept(run, [(video_id, datetime.now(UTC))]))
            if stop.wait(EVERY_SECONDS):
                return

    thread = threading.Thread(target=enqueue)
    thread.start()
    try:
        yield fresh
    finally:
        stop.set()
        thread.join()


def part(setup: Setup, work: Work) -> Report:
    """Measure as a part of `make bench`."""
    overdue = work.choose(quick=500, whole=5_000)
    result = measure(setup, runs=work.choose(quick=1, whole=2, long=work.runs), overdue=overdue)
    seconds = spread([each.seconds for each in result.rounds])
    latest = spread([max(each.meanwhile, default=0.0) for each in result.rounds])
    goals = [
        at_most(
            f"{overdue:,} overdue, until published", result.seconds, GOAL_SECONDS, " s", seconds
        ),
        at_most("… the latest of what is due then", result.latest, GOAL_FRESH_MS, " ms", latest),
    ]
    return Report(goals=goals, numbers=asdict(result))
