"""From the request to the event in a subscriber's hands, at a fixed rate: ours and textbook Celery.

    python -m bench.open_loop [--runs 3] [--seconds 20]

Open loop: requests are sent at their scheduled times, whether or not earlier ones have been
answered, and latency counts from the scheduled time (bench/http_load.py). Arrivals are random
(Poisson), the same for both systems. Each system's capacity is measured first, from the first
request to the last event; then come 20 requests a second, and 50 % and 80 % of its own capacity.
Ours is also measured at 80 % of the peer's: the same work in the same time.
"""

import argparse
import os
import random
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from itertools import accumulate
from statistics import median, quantiles
from typing import Any

from rich.console import Console

from bench import ours
from bench.cpu import cpu_time
from bench.http_load import Answered, Job, send
from bench.report import Row, show
from bench.setup import Setup, set_up
from bench.stacks import Stack, StartStack, our_stack, textbook_stack
from bench.stream_reader import stream_reader
from worker.runtime import logs
from worker.runtime.settings import LogFormat

LOW_RATE = 20.0
SHARES = (0.5, 0.8)
CONNECTIONS = 64
"""The most connections that the open loop opens; beyond that its requests wait in the client."""
CLOSED_CONNECTIONS = 16
WARM_UP = 200
GOAL = 1.0
DRAIN_SECONDS = 120.0
CORES = os.cpu_count() or 1


@dataclass(frozen=True, kw_only=True)
class Capacity:
    """The most that a system publishes over HTTP: from the first request to the last event."""

    name: str
    per_second: float
    cpu_micros: dict[str, float]
    """CPU per publish by kind of process."""


@dataclass(frozen=True, kw_only=True)
class Point:
    """One system at one rate."""

    name: str
    rate: float
    """Requests a second, as scheduled."""
    share: float | None
    """Of the system's own capacity; None: a rate of its own."""
    requests: int
    p50: float
    p95: float
    p99: float
    largest: float
    """Milliseconds from the scheduled time to the event."""
    answer_p50: float
    answer_p99: float
    """Milliseconds from the scheduled time to the answer."""
    sent_late_p99: float
    """Milliseconds from the scheduled time until the client sent the request."""
    cpu_micros: dict[str, float]
    """CPU per publish by kind of process."""
    utilisation: float
    """The system's CPU time, over all cores of the machine."""


@dataclass(frozen=True, kw_only=True)
class OpenLoop:
    """All runs."""

    capacities: list[Capacity]
    points: list[Point]

    @property
    def ratio(self) -> float:
        """Our 99th percentile over the peer's at the low rate."""
        ours_p99, peer = (
            median(p.p99 for p in self.points if p.name == name and p.rate == LOW_RATE)
            for name in names(self.points)
        )
        return ours_p99 / peer


def measure(setup: Setup, *, runs: int, seconds: float, most: int) -> OpenLoop:
    """Measure both systems in turn; `most` requests in one measurement."""
    result = OpenLoop(capacities=[], points=[])
    for number in range(runs):
        found = [measure_capacity(setup, start, most // 4) for start in (our_stack, textbook_stack)]
        result.capacities.extend(found)
        mine, peer = (each.per_second for each in found)
        for share in (None, *SHARES):
            for start, capacity in ((our_stack, mine), (textbook_stack, peer)):
                rate = capacity * share if share else LOW_RATE
                result.points.append(
                    measure_point(setup, start, rate, share, seconds, most, number)
                )
        same = peer * SHARES[-1]
        result.points.append(measure_point(setup, our_stack, same, None, seconds, most, number))
    return result


def measure_capacity(setup: Setup, start: StartStack, count: int) -> Capacity:
    """Send as fast as it is answered, and wait for the last event."""
    with setup.run() as run, start(setup, run) as stack:
        _warm_up(stack)
        ids = run.video_ids[WARM_UP : WARM_UP + count]
        with stream_reader(run, stack.stream, count) as reader, cpu_time(stack.pids) as used:
            answered = _send(stack, ids, None, CLOSED_CONNECTIONS)
            arrivals = reader.arrivals(DRAIN_SECONDS)
        return Capacity(
            name=stack.name,
            per_second=count / (max(arrivals.values()) - min(answered.scheduled)),
            cpu_micros=used.micros_per(count),
        )


def measure_point(
    setup: Setup,
    start: StartStack,
    rate: float,
    share: float | None,
    seconds: float,
    most: int,
    seed: int,
) -> Point:
    """Send at random times, `rate` a second on average; at most `most` requests."""
    count = max(20, min(most, round(rate * seconds)))
    with setup.run() as run, start(setup, run) as stack:
        _warm_up(stack)
        ids = run.video_ids[WARM_UP : WARM_UP + count]
        with stream_reader(run, stack.stream, count) as reader, cpu_time(stack.pids) as used:
            answered = _send(stack, ids, poisson(rate, count, seed), CONNECTIONS)
            arrivals = reader.arrivals(DRAIN_SECONDS)
    late = [1_000 * (arrivals[each] - at) for each, at in zip(ids, answered.scheduled, strict=True)]
    lag = [1_000 * (b - a) for a, b in zip(answered.scheduled, answered.sent, strict=True)]
    return Point(
        name=stack.name,
        rate=rate,
        share=share,
        requests=count,
        p50=median(late),
        p95=_percentile(late, 95),
        p99=_percentile(late, 99),
        largest=max(late),
        answer_p50=median(answered.milliseconds),
        answer_p99=_percentile(answered.milliseconds, 99),
        sent_late_p99=_percentile(lag, 99),
        cpu_micros=used.micros_per(count),
        utilisation=sum(used.seconds.values()) / used.elapsed / CORES,
    )


def poisson(rate: float, count: int, seed: int) -> list[float]:
    """Return `count` random arrivals, `rate` a second: seconds from the start."""
    chance = random.Random(seed)  # noqa: S311 - an arrival is not a secret
    return list(accumulate(chance.expovariate(rate) for _ in range(count)))


def _warm_up(stack: Stack) -> None:
    ids = stack.run.video_ids[:WARM_UP]
    with stream_reader(stack.run, stack.stream, WARM_UP) as reader:
        _send(stack, ids, None, CLOSED_CONNECTIONS)
        reader.arrivals(DRAIN_SECONDS)


def _send(
    stack: Stack, ids: Sequence[int], offsets: list[float] | None, connections: int
) -> Answered:
    answered = send(
        Job(
            port=stack.port,
            key=stack.key,
            connections=connections,
            requests=[stack.publish(video_id) for video_id in ids],
            offsets=offsets,
        )
    )
    if refused := [status for status in answered.statuses if status != 202]:
        raise ours.Incorrect(f"{len(refused)} requests were answered with {set(refused)}")
    return answered


def _percentile(values: Sequence[float], number: int) -> float:
    return quantiles(values, n=100, method="inclusive")[number - 1]


def names(points: Sequence[Point]) -> list[str]:
    """Return the systems in the order in which they were measured."""
    return list(dict.fromkeys(point.name for point in points))


def open_loop_rows(result: OpenLoop) -> list[Row]:
    """Capacities, each system at each share of it, and the ratio at the low rate."""
    rows: list[Row] = []
    for name in names(result.points):
        rates = [each.per_second for each in result.capacities if each.name == name]
        spread = f"{min(rates):,.0f} to {max(rates):,.0f}"
        rows.append(_row(f"{name}: request to event, capacity", f"{median(rates):,.0f} /s", spread))
    for rate_name, chosen in _groups(result.points):
        rows += [
            _point_row(rate_name, [point for point in chosen if point.name == name])
            for name in names(chosen)
        ]
    met = result.ratio <= GOAL
    what = f"p99 at {LOW_RATE:.0f} a second, ours over the peer's"
    rows.append(Row(what=what, value=f"{result.ratio:.2f}", spread="", goal=f"≤ {GOAL}", met=met))
    return rows


def _groups(points: Sequence[Point]) -> list[tuple[str, list[Point]]]:
    shares = {f"{share:.0%} of its capacity": share for share in SHARES}
    found = [(name, [p for p in points if p.share == share]) for name, share in shares.items()]
    low = [p for p in points if p.rate == LOW_RATE]
    same = [p for p in points if p.share is None and p.rate != LOW_RATE]
    return [(f"{LOW_RATE:.0f} a second", low), *found, ("80% of the peer's capacity", same)]


def _point_row(what: str, points: Sequence[Point]) -> Row:
    def middle(name: str) -> float:
        return median(getattr(point, name) for point in points)

    return _row(
        f"{points[0].name}, {what} ({middle('rate'):,.0f}/s)",
        f"{middle('p50'):.1f} ms",
        f"p95 {middle('p95'):.1f}, p99 {middle('p99'):.1f}, max {middle('largest'):.0f} ms;"
        f" answer p50 {middle('answer_p50'):.1f}, p99 {middle('answer_p99'):.1f};"
        f" sent late p99 {middle('sent_late_p99'):.1f};"
        f" CPU {median(p.cpu_micros['sum'] for p in points):,.0f} µs each,"
        f" {middle('utilisation'):.0%} of all cores",
    )


def _row(what: str, value: str, spread: str) -> Row:
    return Row(what=what, value=value, spread=spread, goal="", met=True)


def part(setup: Setup, runs: int, quick: bool) -> tuple[list[Row], Any]:
    """Measure as a part of `make bench`."""
    most = len(setup.video_ids) - WARM_UP
    seconds, most = (5.0, min(2_000, most)) if quick else (20.0, most)
    result = measure(setup, runs=1 if quick else runs, seconds=seconds, most=most)
    return open_loop_rows(result), asdict(result) | {"ratio": result.ratio}


def main() -> int:
    """Measure, show; 0 when the goal is met."""
    parser = argparse.ArgumentParser(prog="python -m bench.open_loop", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=20.0)
    parser.add_argument("--videos", type=int, default=20_100, help="most requests in one go")
    asked = parser.parse_args()
    logs.configure(LogFormat.JSON, "WARNING")
    with set_up(videos=asked.videos) as ready:
        most = asked.videos - WARM_UP
        result = measure(ready, runs=asked.runs, seconds=asked.seconds, most=most)
    rows = open_loop_rows(result)
    show(Console(width=200), rows)
    return int(not all(row.met for row in rows))


if __name__ == "__main__":
    sys.exit(main())
