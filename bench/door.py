"""The HTTP door: single enqueues a second over keep-alive connections, beside FastAPI + `delay()`.

Ours answers 202 after the commit; the peer answers before anything is durable. Both have their
worker running. The client is a process of its own, and its CPU share is shown. After each run of
ours, each command that was answered with 202 must be in the inbox.
"""

import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from statistics import median, quantiles
from uuid import UUID

from bench import ours
from bench.costs import cpu_time
from bench.part import Work
from bench.progress import Progress
from bench.report import (
    Report,
    Row,
    Table,
    at_least,
    at_most,
    figure,
    middle,
    ratios,
    spread,
)
from bench.setup import Setup
from bench.stacks import Stack, StartStack, our_stack, textbook_stack, wait_for_events
from db.session import to_array, transaction

CONNECTIONS = 16
BULK_CONNECTIONS = 2
WARM_UP = 320
RATIO_GOAL = 1.5
P99_GOAL = 1.0

IN_INBOX = "SELECT count(*) FROM publisher.publish_command WHERE id = ANY(%(ids)s::uuid[])"


@dataclass(frozen=True, kw_only=True)
class Door:
    """One run of one system."""

    name: str
    requests: int
    commands: int
    per_second: float
    """Commands that were answered with 2xx, a second."""
    p50: float
    p99: float
    largest: float
    """Milliseconds of a request."""
    cpu_micros: dict[str, float]
    """CPU per command in microseconds, by kind of process, until the last answer."""
    client_share: float
    """The client's part of all CPU time."""


@dataclass(frozen=True, kw_only=True)
class Doors:
    """All runs, in turn."""

    ours: list[Door]
    peer: list[Door]
    bulk: dict[int, list[Door]]
    """Ours, by commands in a request."""

    @property
    def ratio(self) -> float:
        """Our requests a second over the peer's: medians."""
        return middle(self.ours, "per_second") / middle(self.peer, "per_second")

    @property
    def p99_ratio(self) -> float:
        """Our 99th percentile over the peer's."""
        return middle(self.ours, "p99") / middle(self.peer, "p99")


def measure(
    setup: Setup, progress: Progress, *, runs: int, requests: int, sizes: Sequence[int]
) -> Doors:
    """Alternate between both, so that other work on the machine affects both; bulk once."""
    doors = Doors(ours=[], peer=[], bulk={size: [] for size in sizes})
    for number in range(1, runs + 1):
        progress.begin(f"door: {requests:,} single requests to each, run {number} of {runs}")
        doors.ours.append(singles(setup, our_stack, requests))
        doors.peer.append(singles(setup, textbook_stack, requests))
        mine, peer = doors.ours[-1].per_second, doors.peer[-1].per_second
        progress.end(f"{mine:,.0f}/s; FastAPI + delay() {peer:,.0f}/s")
    for size, results in doors.bulk.items():
        results.append(_bulk(setup, size, requests))
    return doors


def singles(setup: Setup, start: StartStack, requests: int) -> Door:
    """Measure one request for each video, on one system."""
    with setup.run() as run, start(setup, run) as stack:
        return singles_on(stack, run.video_ids[: WARM_UP + requests], before=0)


def singles_on(stack: Stack, video_ids: Sequence[int], *, before: int) -> Door:
    """Measure one request for each of these videos but the first ones, which warm up.

    `before`: events that the stream already has.
    """
    requests = [stack.publish(video_id) for video_id in video_ids]
    stack.send(requests[:WARM_UP], CONNECTIONS)
    wait_for_events(stack, before + WARM_UP)
    return _measured(stack, requests[WARM_UP:], CONNECTIONS, before + len(video_ids))


def _bulk(setup: Setup, size: int, commands: int) -> Door:
    """The same number of commands, `size` in a request."""
    with setup.run() as run, our_stack(setup, run) as stack:
        warm, rest = run.video_ids[:size], run.video_ids[size : size + commands]
        stack.send([to_bulk(warm)], 1)
        wait_for_events(stack, size)
        requests = [to_bulk(rest[at : at + size]) for at in range(0, len(rest), size)]
        return _measured(stack, requests, BULK_CONNECTIONS, len(warm) + len(rest))


def to_bulk(video_ids: Iterable[int]) -> tuple[str, str]:
    """Return the request that publishes these videos."""
    commands = [{"video_id": video_id} for video_id in video_ids]
    return "/api/v1/publish-commands", json.dumps({"commands": commands})


def _measured(
    stack: Stack, requests: Sequence[tuple[str, str]], connections: int, events: int
) -> Door:
    with cpu_time(stack.trees) as used:
        answered = stack.send(requests, connections)
    ids = [each for answer in answered.command_ids for each in answer]
    if stack.name == "publish-worker":
        _check_inbox(stack, ids)
    wait_for_events(stack, events)
    times = answered.milliseconds
    shares = used.micros_per(len(ids)) | {"client": 1e6 * answered.cpu_seconds / len(ids)}
    return Door(
        name=stack.name,
        requests=len(requests),
        commands=len(ids),
        per_second=len(ids) / answered.seconds,
        p50=median(times),
        p99=quantiles(times, n=100, method="inclusive")[98],
        largest=max(times),
        cpu_micros=shares,
        client_share=answered.cpu_seconds / (answered.cpu_seconds + sum(used.seconds.values())),
    )


def _check_inbox(stack: Stack, ids: Sequence[str]) -> None:
    with transaction(stack.run.engine) as tx:
        row = tx.execute(IN_INBOX, {"ids": to_array(map(UUID, ids))}).fetchone()
    if row != (len(ids),) or len(set(ids)) != len(ids):
        raise ours.Incorrect(f"{len(ids)} commands were answered with 202, the inbox has {row}")


def _goals(result: Doors) -> list[Row]:
    mine, peer = result.ours, result.peer
    rates = ratios([each.per_second for each in mine], [each.per_second for each in peer])
    tails = ratios([each.p99 for each in mine], [each.p99 for each in peer])
    return [
        at_least("single HTTP requests, beside FastAPI", result.ratio, RATIO_GOAL, "-fold", rates),
        at_most("… p99 of the answer, ours over theirs", result.p99_ratio, P99_GOAL, "", tails),
    ]


def _table(result: Doors) -> Table:
    named = {"ours, single, durable": result.ours, "FastAPI + delay(), single": result.peer}
    named |= {f"ours, {size:,} in a request": doors for size, doors in result.bulk.items()}
    return Table(
        title="HTTP door",
        note=f"{CONNECTIONS} connections for single requests, {BULK_CONNECTIONS} for bulk. "
        "CPU is in µs per command.",
        head=(
            *("", "commands a second", "spread", "p50, ms", "p99, ms", "max, ms"),
            *("CPU of API", "worker", "PostgreSQL", "Valkey", "client"),
        ),
        rows=[_row(name, doors) for name, doors in named.items()],
    )


def _row(name: str, doors: Sequence[Door]) -> Sequence[str]:
    rates = [door.per_second for door in doors]
    kinds = ("API", "worker", "postgres", "valkey", "client")
    return (
        name,
        figure(median(rates)),
        spread(rates),
        *(figure(middle(doors, name)) for name in ("p50", "p99", "largest")),
        *(f"{median(door.cpu_micros[kind] for door in doors):,.0f}" for kind in kinds),
    )


def part(setup: Setup, work: Work) -> Report:
    """Measure as a part of `make bench`."""
    requests = work.choose(quick=300, whole=2_500, long=6_000)
    sizes = work.choose(quick=(), whole=(100, 1_000))
    result = measure(setup, work.progress, runs=work.runs, requests=requests, sizes=sizes)
    numbers = asdict(result) | {"ratio": result.ratio, "p99_ratio": result.p99_ratio}
    return Report(goals=_goals(result), tables=[_table(result)], numbers=numbers)
