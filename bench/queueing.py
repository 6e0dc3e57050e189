"""A queueing model of the system, with parameters from measurements, and how well it predicts.

The model, for docs/scaling.md. A batch of n commands takes a + b·n seconds (of the clock, and of
CPU); a and b are fitted to batches that this process carries out itself. Then:

    rate of c pool processes     min(c · n / T(n), cores / CPU per publish)
    size of a batch at rate λ    what arrives during a batch: n = max(1, λ · T(n))
    utilisation at rate λ        (idle CPU + λ · CPU per request at that batch size) / cores
    HTTP capacity                the rate at which that, with the CPU of the client, is 1
    response time at rate λ      S / (1 - U^cores): processors shared by what is in progress; S is
                                 calibrated at 20 requests a second

What is predicted is measured next to it: 1 and 2 pool processes, and three rates over HTTP.
"""

import os
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from statistics import linear_regression, median

from bench import ours
from bench.costs import cpu_time, engine_trees
from bench.open_loop import (
    LOW_RATE,
    SHARES,
    Capacity,
    OpenLoop,
    Point,
    measure_capacity,
    measure_point,
)
from bench.part import Work
from bench.report import Report, Table, figure
from bench.setup import Run, Setup
from bench.stacks import our_stack
from db.events.outbox import Recorded
from worker.events.redis_stream import StreamOutlet
from worker.publish.run import BATCH, run_due

SIZES = (1, 10, 50, 100, 150)
"""Commands in a batch. Below the size after which a worker claims again."""
WARM_UP = 200
CORES = os.cpu_count() or 1
BASE_URL = "https://videos.example.com"
IDLE_SECONDS = 3.0


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


def measure_services(setup: Setup, repeats: int) -> Services:
    """Carry out batches of several sizes in this process, and fit a line to each cost."""
    with setup.run() as run:
        videos = iter(run.video_ids)
        engines = engine_trees(setup.home / "data")
        samples: list[tuple[int, float, float]] = []
        ours.accept(run, ((next(videos), None) for _ in range(20)))
        _batch(run)
        for _ in range(repeats):
            for size in SIZES:
                ids = [next(videos) for _ in range(size)]
                ours.accept(run, ((each, None) for each in ids))
                with cpu_time(engines) as used:
                    own = _cpu_of(lambda: _batch(run))
                samples.append((size, used.elapsed, own + sum(used.seconds.values())))
        rest = list(videos)[:1_000]
        with cpu_time(engines) as used:
            own = _cpu_of(lambda: ours.accept(run, ((each, None) for each in rest)))
        enqueue_cpu = own + sum(used.seconds.values())
    with setup.run() as run, our_stack(setup, run) as stack, cpu_time(stack.trees) as idle:
        time.sleep(IDLE_SECONDS)
    return Services(
        clock=_fit([(size, seconds) for size, seconds, _ in samples], median),
        cpu=_fit([(size, cpu) for size, _, cpu in samples], _mean),
        enqueue_cpu=enqueue_cpu / len(rest),
        idle_cpu=sum(idle.seconds.values()) / idle.elapsed,
    )


def _cpu_of(action: Callable[[], object]) -> float:
    """Return the CPU seconds of this process; without those that measuring the engines takes."""
    before = time.process_time()
    action()
    return time.process_time() - before


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
    request_cpu = most.cpu_micros["API"] / 1e6 + services.enqueue_cpu
    model = capacity(services, request_cpu + most.client_micros / 1e6)
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


def measure(setup: Setup, work: Work) -> tuple[Services, list[Prediction]]:
    """Measure the parameters, then what the model predicts, unless the open loop has done so."""
    services = measure_services(setup, work.choose(quick=3, whole=12))
    commands = work.choose(quick=500, whole=6_000)
    rates = {
        processes: measure_rate(setup, processes, commands)
        for processes in work.choose(quick=(2,), whole=(1, 2))
    }
    measured: OpenLoop | None = work.found.get("open-loop")
    if measured is None:
        measured = _measure_http(setup, work.choose(quick=2.0, whole=10.0))
    mine = measured.capacities[0]
    points = sorted(
        (each for each in measured.points if each.name == mine.name), key=lambda each: each.rate
    )
    return services, predict(services, rates, mine, points)


def _measure_http(setup: Setup, seconds: float) -> OpenLoop:
    most = len(setup.video_ids) - WARM_UP
    found = measure_capacity(setup, our_stack, min(2_000, most))
    rates = (LOW_RATE, *(found.per_second * share for share in SHARES))
    points = [measure_point(setup, our_stack, each, None, seconds, most, 1) for each in rates]
    return OpenLoop(capacities=[found], points=points)


def _tables(services: Services, predictions: Sequence[Prediction]) -> list[Table]:
    lines = {"one batch, on the clock": services.clock, "one batch, CPU": services.cpu}
    return [
        Table(
            title="Queueing model: what it starts from",
            head=("", "fixed", "for each command"),
            rows=[
                *(
                    (name, f"{figure(1e3 * line.fixed)} ms", f"{figure(1e6 * line.item)} µs")
                    for name, line in lines.items()
                ),
                ("enqueue, CPU", "", f"{figure(1e6 * services.enqueue_cpu)} µs"),
                ("idle, CPU", f"{services.idle_cpu:.1%} of a core", ""),
            ],
        ),
        Table(
            title="Queueing model: what it predicts",
            head=("", "measured", "model", "error"),
            rows=[
                (
                    each.what,
                    f"{figure(each.measured)} {each.unit}",
                    f"{figure(each.model)} {each.unit}",
                    f"{each.error:+.0%}",
                )
                for each in predictions
            ],
        ),
    ]


def part(setup: Setup, work: Work) -> Report:
    """Measure as a part of `make bench`."""
    services, predictions = measure(setup, work)
    numbers = {"services": asdict(services), "points": [asdict(each) for each in predictions]}
    return Report(tables=_tables(services, predictions), numbers=numbers)
