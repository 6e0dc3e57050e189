"""Latency at low load: from just before a request to its event in a subscriber's hands."""

import random
import time
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from statistics import median, quantiles

import httpx

from bench import ours
from bench.part import Work
from bench.report import Report, at_most, figure
from bench.setup import WORKSPACE, Run, Setup
from bench.subscriber import Arrivals, subscriber
from schemas.command import PublishRequest
from schemas.values.caller import Scope
from worker.enqueue.accept import enqueue
from worker.operations.api_keys import create_key

GOAL_MS = 25.0
WARM_UP = 20
PAUSE_SECONDS = (0.03, 0.13)
"""Between two requests, at random, so that they meet the sweeps at every phase."""
HTTP = "POST …/publish/"
PYTHON = "enqueue() in Python"

Publish = Callable[[int], None]


@dataclass(frozen=True, kw_only=True)
class Latency:
    """Milliseconds of each request, in order."""

    door: str
    milliseconds: list[float]

    @property
    def median(self) -> float:
        """Half are faster."""
        return median(self.milliseconds)

    def percentile(self, number: int) -> float:
        """The percentile `number` (1 to 99)."""
        return quantiles(self.milliseconds, n=100)[number - 1]


def measure(setup: Setup, *, requests: int) -> list[Latency]:
    """Measure both doors, one request at a time."""
    with setup.run() as run, ours.worker(run), subscriber(run) as arrivals:
        ids = iter(run.video_ids)
        doors = [_door(PYTHON, _in_python(run), ids, arrivals, requests)]
        with _over_http(run) as publish:
            doors.append(_door(HTTP, publish, ids, arrivals, requests))
        done = sum(len(door.milliseconds) + WARM_UP for door in doors)
        ours.check(run, run.video_ids[:done])
    return doors


def _door(
    name: str, publish: Publish, ids: Iterator[int], arrivals: Arrivals, requests: int
) -> Latency:
    times = [_time(publish, next(ids), arrivals) for _ in range(WARM_UP + requests)]
    return Latency(door=name, milliseconds=times[WARM_UP:])


def _time(publish: Publish, video_id: int, arrivals: Arrivals) -> float:
    time.sleep(random.uniform(*PAUSE_SECONDS))  # noqa: S311 - a pause is not a secret
    started = time.perf_counter()
    publish(video_id)
    arrived, at = arrivals.get(timeout=30)
    if arrived != video_id:
        raise ours.Incorrect(f"published {video_id}, received {arrived}")
    return 1_000 * (at - started)


def _in_python(run: Run) -> Publish:
    waking = ours.make_waker(run)

    def publish(video_id: int) -> None:
        enqueue(run.engine, waking, [PublishRequest(video_id=video_id)], ours.ORIGIN)

    return publish


@contextmanager
def _over_http(run: Run) -> Generator[Publish]:
    """A real API process, and a client that keeps its connection."""
    key = create_key(run.engine, name="bench", scope=Scope.PUBLISH, workspace_id=WORKSPACE)
    headers = {"Authorization": f"Bearer {key}"}
    with (
        ours.api(run) as (_, port),
        httpx.Client(base_url=f"http://127.0.0.1:{port}", headers=headers) as client,
    ):

        def publish(video_id: int) -> None:
            client.post(f"/api/v1/videos/{video_id}/publish/").raise_for_status()

        yield publish


def part(setup: Setup, work: Work) -> Report:
    """Measure as a part of `make bench`."""
    results = measure(setup, requests=work.choose(quick=10, whole=70, long=200))
    goals = [
        at_most(
            f"{each.door} to its event, one at a time",
            each.median,
            GOAL_MS,
            " ms",
            f"p95 {figure(each.percentile(95))}, p99 {figure(each.percentile(99))} ms",
        )
        for each in results
    ]
    return Report(goals=goals, numbers=[asdict(each) for each in results])
