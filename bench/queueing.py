"""A queueing model of the system, with parameters from measurements, and how well it predicts.

    python -m bench.queueing [--seconds 15] [--commands 10000]

The model, for docs/scaling.md. A batch of n commands takes a + b·n seconds (of the clock, and of
CPU); a and b are fitted to batches that this process carries out itself. Then:

    rate of c pool processes     min(c · n / T(n), cores / CPU per publish)
    size of a batch at rate λ    what arrives during a batch: n = max(1, λ · T(n))
    utilisation at rate λ        (idle CPU + λ · CPU per request at that batch size) / cores
    response time at rate λ      S / (1 - U^cores): processors shared by what is in progress; S is
                                 calibrated at 20 requests a second

What is predicted is measured next to it: 1 and 2 pool processes, and three rates over HTTP.
"""

import argparse
import json
import os
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from statistics import linear_regression, median
from typing import Any

from rich.console import Console

from bench import ours
from bench.cpu import cpu_time, engine_pids
from bench.open_loop import LOW_RATE, SHARES, Capacity, Point, measure_capacity, measure_point
from bench.report import Row, show
from bench.setup import Run, Setup, set_up
from bench.stacks import our_stack
from db.events.outbox import Recorded
from worker.events.redis_stream import StreamOutlet
from worker.publish.run import BATCH, run_due
from worker.runtime import logs
from worker.runtime.settings import LogFormat

SIZES = (1, 10, 50, 100, 150)
"""Commands in a batch. Below the size after which a worker claims again."""
REPEATS = 12
WARM_UP = 200
CORES = os.cpu_count() or 1
BASE_URL = "https://videos.example.com"
IDLE_SECONDS = 5.0


@dataclass(frozen=True, kw_only=True)
class Line:
    """A cost in seconds: `fixed` for each batch, `item` for each command in it."""

    fixed: float
    item: float

    def of(self, size: float) -> float:
        """Return the cost of a batch of this size."""
        return self.fixed + self.item * size


@dataclass(frozen=True, kw_only=True)
class Services:
    """What one batch costs: claim, facts, write, events, commit, relay, and an empty claim."""

    clock: Line
    cpu: Line
    """Of the pool process and both engines."""
    enqueue_cpu: float
    """Of a producer in Python and both engines, for a command of a call with 500."""
    idle_cpu: float
    """CPU seconds a second of all processes without any work."""


@dataclass(frozen=True, kw_only=True)
class Prediction:
    """A figure of the model beside the measured one."""

    what: str
    unit: str
    model: float
    measured: float

    @property
    def error(self) -> float:
        """How far the model is off, as a part of what was measured."""
        return self.model / self.measured - 1


def batch_size(rate: float, clock: Line) -> float:
    """Return how many commands arrive during a batch, which is the size of the next one."""
    size = 1.0
    for _ in range(100):
        size = min(float(BATCH), max(1.0, rate * clock.of(size)))
    return size


def utilisation(rate: float, services: Services, request_cpu: float) -> float:
    """Return the part of all cores that this rate of HTTP requests needs."""
    size = batch_size(rate, services.clock)
    each = request_cpu + services.cpu.of(size) / size
    return (services.idle_cpu + rate * each) / CORES


def capacity(services: Services, request_cpu: float) -> float:
    """Return the rate at which the cores are fully used."""
    low, high = 0.0, 1e6
    while high - low > 0.1:
        middle = (low + high) / 2
        low, high = (
            (middle, high) if utilisation(middle, services, request_cpu) < 1 else (low, middle)
        )
    return low


def stretch(used: float) -> float:
    """Return by what factor a response takes longer than on an idle machine."""
    return 1 / (1 - min(used, 0.999) ** CORES)


def measure_services(setup: Setup) -> Services:
    """Carry out batches of several sizes in this process, and fit a line to each cost."""
    with setup.run() as run:
        videos = iter(run.video_ids)
        pids = {"here": os.getpid()} | engine_pids(setup.home)
        samples: list[tuple[int, float, float]] = []
        ours.accept(run, ((next(videos), None) for _ in range(20)))
        _batch(run)
        for _ in range(REPEATS):
            for size in SIZES:
                ids = [next(videos) for _ in range(size)]
                ours.accept(run, ((each, None) for each in ids))
                with cpu_time(pids) as used:
                    _batch(run)
                samples.append((size, used.elapsed, sum(used.seconds.values())))
        with cpu_time(pids) as enqueuing:
            count = len(ours.accept(run, ((each, None) for each in list(videos)[:2_000])))
    with setup.run() as run, our_stack(setup, run) as stack, cpu_time(stack.pids) as idle:
        time.sleep(IDLE_SECONDS)
    return Services(
        clock=_fit([(size, seconds) for size, seconds, _ in samples], median),
        cpu=_fit([(size, cpu) for size, _, cpu in samples], _mean),
        enqueue_cpu=sum(enqueuing.seconds.values()) / count,
        idle_cpu=sum(idle.seconds.values()) / idle.elapsed,
    )


def _batch(run: Run) -> None:
    """Carry out what is due, and relay, as a pool process does."""
    outlet = StreamOutlet(run.engine, run.redis, BASE_URL)

    def committed(recorded: Recorded | None) -> None:
        outlet.relay(recorded)

    run_due(run.engine, base_url=BASE_URL, wake=lambda: None, committed=committed)


def _fit(samples: Sequence[tuple[int, float]], middle: Callable[[Sequence[float]], float]) -> Line:
    """Fit a line to the middle of each size: one batch that the machine interrupts counts less."""
    typical = [middle([cost for size, cost in samples if size == each]) for each in SIZES]
    item, fixed = linear_regression(SIZES, typical)
    return Line(fixed=max(0.0, fixed), item=item)


def _mean(values: Sequence[float]) -> float:
    """CPU time is counted in ticks of 10 ms: only sums of many are exact."""
    return sum(values) / len(values)


def measure_rate(setup: Setup, processes: int, commands: int) -> float:
    """Return the publishes a second of a worker, from the first enqueue to the last event."""
    with setup.run() as run, ours.worker(run, concurrency=processes):
        waking, ids = ours.make_waker(run), run.video_ids[: WARM_UP + commands]
        ours.enqueue_all(run.engine, waking, ids[:WARM_UP])
        ours.wait_for_position(run, WARM_UP)
        started = time.perf_counter()
        ours.enqueue_all(run.engine, waking, ids[WARM_UP:])
        ours.wait_for_position(run, len(ids))
        return commands / (time.perf_counter() - started)


def predict(
    services: Services, rates: dict[int, float], most: Capacity, points: Sequence[Point]
) -> list[Prediction]:
    """Compare the model with what was measured."""
    found: list[Prediction] = []
    cpu = services.enqueue_cpu + services.cpu.of(BATCH) / BATCH
    for processes, rate in rates.items():
        model = min(processes * BATCH / services.clock.of(BATCH), CORES / cpu)
        what = f"bulk, {processes} pool process{'es'[: 2 * (processes > 1)]}"
        found.append(Prediction(what=what, unit="/s", model=model, measured=rate))
    request_cpu = most.cpu_micros["API"] / 1e6
    model = capacity(services, request_cpu)
    found.append(
        Prediction(what="HTTP, capacity", unit="/s", model=model, measured=most.per_second)
    )
    low = points[0]
    alone = low.p50 / stretch(low.utilisation)
    for point in points:
        used = utilisation(point.rate, services, request_cpu)
        what = f"HTTP, {point.rate:.0f} a second"
        size = batch_size(point.rate, services.clock)
        found += [
            Prediction(
                what=f"{what}: utilisation, batches of {size:.1f}",
                unit="%",
                model=100 * used,
                measured=100 * point.utilisation,
            ),
            Prediction(
                what=f"{what}: p50 to the event",
                unit="ms",
                model=alone * stretch(used),
                measured=point.p50,
            ),
        ]
    return found


def measure(
    setup: Setup, *, seconds: float, commands: int, most: int
) -> tuple[Services, list[Prediction]]:
    """Measure the parameters, then what the model predicts."""
    services = measure_services(setup)
    rates = {processes: measure_rate(setup, processes, commands) for processes in (1, 2)}
    found = measure_capacity(setup, our_stack, most // 4)
    points = [
        measure_point(setup, our_stack, rate, None, seconds, most, 1)
        for rate in (LOW_RATE, *(found.per_second * share for share in SHARES))
    ]
    return services, predict(services, rates, found, points)


def queueing_rows(services: Services, predictions: Sequence[Prediction]) -> list[Row]:
    """The parameters, then each prediction beside its measurement."""
    clock, cpu = services.clock, services.cpu
    parameters = (
        f"clock {1e3 * clock.fixed:.2f} ms + {1e6 * clock.item:.0f} µs a command;"
        f" CPU {1e3 * cpu.fixed:.2f} ms + {1e6 * cpu.item:.0f} µs a command;"
        f" enqueue {1e6 * services.enqueue_cpu:.0f} µs CPU; idle {services.idle_cpu:.1%} of a core"
    )
    rows = [Row(what="one batch", value="", spread=parameters, goal="", met=True)]
    return rows + [
        Row(
            what=each.what,
            value=f"{each.measured:,.1f} {each.unit}",
            spread=f"model {each.model:,.1f} {each.unit}, {each.error:+.0%}",
            goal="",
            met=True,
        )
        for each in predictions
    ]


def part(setup: Setup, _runs: int, quick: bool) -> tuple[list[Row], Any]:
    """Measure as a part of `make bench`."""
    seconds, commands = (4.0, 2_000) if quick else (15.0, 10_000)
    most = len(setup.video_ids) - WARM_UP
    services, predictions = measure(setup, seconds=seconds, commands=commands, most=most)
    numbers = {"services": asdict(services), "points": [asdict(each) for each in predictions]}
    return queueing_rows(services, predictions), numbers


def main() -> int:
    """Measure, show, and print the parameters."""
    parser = argparse.ArgumentParser(prog="python -m bench.queueing", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("--seconds", type=float, default=15.0)
    parser.add_argument("--commands", type=int, default=10_000)
    asked = parser.parse_args()
    logs.configure(LogFormat.JSON, "WARNING")
    needed = max(asked.commands, sum(SIZES) * REPEATS + 2_020) + WARM_UP
    with set_up(videos=needed) as ready:
        services, predictions = measure(
            ready, seconds=asked.seconds, commands=asked.commands, most=needed - WARM_UP
        )
    show(Console(width=200), queueing_rows(services, predictions))
    print(json.dumps(asdict(services)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
