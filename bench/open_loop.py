"""From the request to the event in a subscriber's hands, at a fixed rate: ours and textbook Celery.

Open loop: requests are sent at their scheduled times, whether or not earlier ones have been
answered, and latency counts from the scheduled time (bench/http_load.py). Arrivals are random
(Poisson), the same for both systems. Each system's capacity is measured first, from the first
request to the last event; then come 20 requests a second, and 50 % and 80 % of its own capacity.
Ours is also measured at 80 % of the peer's: the same work in the same time.
"""

import os
import random
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from itertools import accumulate
from statistics import median, quantiles

from bench.costs import cpu_time
from bench.part import Work
from bench.progress import Progress
from bench.report import Report, Row, Table, at_most, figure, middle, ratios, spread
from bench.setup import Setup
from bench.stacks import Stack, StartStack, our_stack, textbook_stack
from bench.stream_reader import stream_reader

LOW_RATE = 20.0
LOW_RATE_LONGER = 3
"""So much longer than the others: else the 99th percentile would be one request or two."""
SHARES = (0.5, 0.8)
CONNECTIONS = 64
"""The most connections that the open loop opens; beyond that its requests wait in the client."""
CLOSED_CONNECTIONS = 16
WARM_UP = 200
GOAL = 1.0
CAPACITY_REQUESTS = 3_000
DRAIN_SECONDS = 120.0
CORES = os.cpu_count() or 1


@dataclass(frozen=True, kw_only=True)
class Capacity:
    """The most that a system publishes over HTTP: from the first request to the last event."""

    name: str
    per_second: float
    cpu_micros: dict[str, float]
    """CPU per publish by kind of process."""
    client_micros: float
    """CPU of the client, for each request."""


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

    def tails(self, name: str) -> list[float]:
        """Return a system's 99th percentiles at the low rate, run by run."""
        return [p.p99 for p in self.points if p.name == name and p.rate == LOW_RATE]


def measure(
    setup: Setup,
    progress: Progress,
    *,
    runs: int,
    seconds: float,
    most: int,
    shares: Sequence[float],
) -> OpenLoop:
    """Measure both systems in turn, at these shares of their capacities.

    `most`: requests in one measurement.
    """
    result = OpenLoop(capacities=[], points=[])
    for number in range(runs):
        progress.begin(f"open-loop: capacities, run {number + 1} of {runs}")
        count = min(CAPACITY_REQUESTS, most // 4)
        systems = (our_stack, textbook_stack) if shares else (our_stack,)
        found = [measure_capacity(setup, start, count) for start in systems]
        result.capacities.extend(found)
        progress.end(", ".join(f"{each.name} {each.per_second:,.0f}/s" for each in found))
        mine, peer = found[0].per_second, found[-1].per_second
        for share in (None, *shares):
            what = f"{share:.0%} of the capacity" if share else f"{LOW_RATE:.0f} requests a second"
            long = seconds if share else seconds * LOW_RATE_LONGER
            progress.begin(f"open-loop: {what}, each for {long:.0f} s")
            for start, capacity in ((our_stack, mine), (textbook_stack, peer)):
                rate = capacity * share if share else LOW_RATE
                result.points.append(measure_point(setup, start, rate, share, long, most, number))
        if not shares:
            continue
        same = peer * shares[-1]
        result.points.append(measure_point(setup, our_stack, same, None, seconds, most, number))
    return result


def measure_capacity(setup: Setup, start: StartStack, count: int) -> Capacity:
    """Send as fast as it is answered, and wait for the last event."""
    with setup.run() as run, start(setup, run) as stack:
        _warm_up(stack)
        ids = run.video_ids[WARM_UP : WARM_UP + count]
        with stream_reader(run, stack.stream, count) as reader, cpu_time(stack.trees) as used:
            answered = stack.send(_singles(stack, ids), CLOSED_CONNECTIONS)
            arrivals = reader.arrivals(DRAIN_SECONDS)
        return Capacity(
            name=stack.name,
            per_second=count / (max(arrivals.values()) - min(answered.scheduled)),
            cpu_micros=used.micros_per(count),
            client_micros=1e6 * answered.cpu_seconds / count,
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
        with stream_reader(run, stack.stream, count) as reader, cpu_time(stack.trees) as used:
            offsets = poisson(rate, count, seed)
            answered = stack.send(_singles(stack, ids), CONNECTIONS, offsets)
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
        stack.send(_singles(stack, ids), CLOSED_CONNECTIONS)
        reader.arrivals(DRAIN_SECONDS)


def _singles(stack: Stack, ids: Sequence[int]) -> list[tuple[str, str]]:
    return [stack.publish(video_id) for video_id in ids]


def _percentile(values: Sequence[float], number: int) -> float:
    return quantiles(values, n=100, method="inclusive")[number - 1]


def names(points: Sequence[Point]) -> list[str]:
    """Return the systems in the order in which they were measured."""
    return list(dict.fromkeys(point.name for point in points))


def _goal(result: OpenLoop) -> Row:
    mine, peer = (result.tails(name) for name in names(result.points))
    what = f"event p99 at {LOW_RATE:.0f} requests a second, ours over theirs"
    return at_most(what, median(mine) / median(peer), GOAL, "", ratios(mine, peer))


def _tables(result: OpenLoop) -> list[Table]:
    rows = [
        _row(what, [point for point in chosen if point.name == name])
        for what, chosen in _groups(result.points)
        for name in names(chosen)
    ]
    capacities: list[Sequence[str]] = []
    for name in dict.fromkeys(each.name for each in result.capacities):
        rates = [each.per_second for each in result.capacities if each.name == name]
        capacities.append((name, figure(median(rates)), spread(rates)))
    return [
        Table(
            title="HTTP, from the first request to the last event",
            head=("", "publishes a second", "spread"),
            rows=capacities,
        ),
        Table(
            title="Open loop: from the scheduled request to the event",
            note="Requests are sent at random times, whether or not earlier ones have been "
            "answered. Times are in ms, CPU in µs per publish.",
            head=(
                *("", "requests a second", "event p50", "p95", "p99", "max"),
                *("answer p50", "p99", "CPU", "of all cores"),
            ),
            rows=rows,
        ),
    ]


def _groups(points: Sequence[Point]) -> list[tuple[str, list[Point]]]:
    shares = {f"at {share:.0%} of its capacity": share for share in SHARES}
    found = [(name, [p for p in points if p.share == share]) for name, share in shares.items()]
    low = [p for p in points if p.rate == LOW_RATE]
    same = [p for p in points if p.share is None and p.rate != LOW_RATE]
    groups = [("at a low rate", low), *found, ("at 80% of the peer's", same)]
    return [(name, chosen) for name, chosen in groups if chosen]


def _row(what: str, points: Sequence[Point]) -> Sequence[str]:
    times = ("p50", "p95", "p99", "largest", "answer_p50", "answer_p99")
    return (
        f"{points[0].name}, {what}",
        figure(middle(points, "rate")),
        *(figure(middle(points, name)) for name in times),
        figure(median(point.cpu_micros["all"] for point in points)),
        f"{middle(points, 'utilisation'):.0%}",
    )


def part(setup: Setup, work: Work) -> Report:
    """Measure as a part of `make bench`."""
    result = measure(
        setup,
        work.progress,
        runs=work.choose(quick=1, whole=1, long=work.runs),
        seconds=work.choose(quick=1.0, whole=4.0, long=20.0),
        shares=work.choose(quick=(), whole=SHARES[-1:], long=SHARES),
        most=min(work.choose(quick=600, whole=20_000), len(setup.video_ids) - WARM_UP),
    )
    work.found["open-loop"] = result
    return Report(goals=[_goal(result)], tables=_tables(result), numbers=asdict(result))
