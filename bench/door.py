"""The HTTP door: single enqueues a second over keep-alive connections, beside FastAPI + `delay()`.

    python -m bench.door [--runs 3] [--requests 6000]

Ours answers 202 after the commit; the peer answers before anything is durable. Both have their
worker running. The client is a process of its own, and its CPU share is shown. After each run of
ours, each command that was answered with 202 must be in the inbox.
"""

import argparse
import json
import sys
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from statistics import median, quantiles
from typing import Any
from uuid import UUID

from rich.console import Console

from bench import ours
from bench.cpu import cpu_time
from bench.http_load import Answered, Job, send
from bench.peers import fastapi_delay
from bench.report import Row, show
from bench.setup import Setup, set_up
from bench.stacks import Stack, StartStack, our_stack, textbook_stack, wait_for_events
from db.session import to_array, transaction
from worker.runtime import logs
from worker.runtime.settings import LogFormat

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
        return _median(self.ours, "per_second") / _median(self.peer, "per_second")

    @property
    def p99_ratio(self) -> float:
        """Our 99th percentile over the peer's."""
        return _median(self.ours, "p99") / _median(self.peer, "p99")


def measure(setup: Setup, *, runs: int, requests: int) -> Doors:
    """Alternate between both, so that other work on the machine affects both."""
    doors = Doors(ours=[], peer=[], bulk={100: [], 1_000: []})
    for _ in range(runs):
        doors.ours.append(singles(setup, our_stack, requests))
        doors.peer.append(singles(setup, textbook_stack, requests))
        for size, results in doors.bulk.items():
            results.append(_bulk(setup, size, requests))
    return doors


def singles(setup: Setup, start: StartStack, requests: int) -> Door:
    """Measure one request for each video, on one system."""
    with setup.run() as run, start(setup, run) as stack:
        ids = run.video_ids[: WARM_UP + requests]
        singles = [stack.publish(video_id) for video_id in ids]
        _send(stack, singles[:WARM_UP], CONNECTIONS)
        wait_for_events(stack, WARM_UP)
        return _measured(stack, singles[WARM_UP:], CONNECTIONS, WARM_UP + requests)


def _bulk(setup: Setup, size: int, commands: int) -> Door:
    """The same number of commands, `size` in a request."""
    with setup.run() as run, our_stack(setup, run) as stack:
        warm, rest = run.video_ids[:size], run.video_ids[size : size + commands]
        _send(stack, [to_bulk(warm)], 1)
        wait_for_events(stack, size)
        requests = [to_bulk(rest[at : at + size]) for at in range(0, len(rest), size)]
        return _measured(stack, requests, BULK_CONNECTIONS, len(warm) + len(rest))


def to_bulk(video_ids: Iterable[int]) -> tuple[str, str]:
    """Return the request that publishes these videos."""
    commands = [{"video_id": video_id} for video_id in video_ids]
    return "/api/v1/publish-commands", json.dumps({"commands": commands})


def _send(stack: Stack, requests: Sequence[tuple[str, str]], connections: int) -> Answered:
    job = Job(port=stack.port, key=stack.key, connections=connections, requests=list(requests))
    answered = send(job)
    if refused := [status for status in answered.statuses if status != 202]:
        raise ours.Incorrect(f"{len(refused)} requests were answered with {set(refused)}")
    return answered


def _measured(
    stack: Stack, requests: Sequence[tuple[str, str]], connections: int, events: int
) -> Door:
    with cpu_time(stack.pids) as used:
        answered = _send(stack, requests, connections)
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


def _median(doors: Iterable[Door], what: str) -> float:
    return median(getattr(door, what) for door in doors)


def door_rows(result: Doors) -> list[Row]:
    """Ours, the peer, the two ratios, and the bulk door."""
    singles = f"POST …/publish/, {CONNECTIONS} connections"
    rows = [
        _row(f"{singles}, durable", result.ours),
        _row(f"{singles}, FastAPI + delay()", result.peer),
        _ratio("… requests a second, ratio", result.ratio, f"≥ {RATIO_GOAL}", RATIO_GOAL),
        _ratio("… p99, ratio", result.p99_ratio, f"≤ {P99_GOAL}", P99_GOAL, at_most=True),
    ]
    for size, doors in result.bulk.items():
        rows.append(_row(f"POST /publish-commands, {size:,} commands each", doors))
    return rows


def _row(what: str, doors: Sequence[Door]) -> Row:
    rates = [door.per_second for door in doors]
    p50, p99 = _median(doors, "p50"), _median(doors, "p99")
    largest = max(door.largest for door in doors)
    kinds = doors[0].cpu_micros
    cpu = ", ".join(f"{kind} {median(d.cpu_micros[kind] for d in doors):.0f}" for kind in kinds)
    share = 100 * _median(doors, "client_share")
    return Row(
        what=what,
        value=f"{median(rates):,.0f} /s",
        spread=f"{min(rates):,.0f} to {max(rates):,.0f}; p50 {p50:.1f}, p99 {p99:.1f},"
        f" max {largest:.0f} ms; µs CPU each: {cpu} ({share:.0f} %)",
        goal="",
        met=True,
    )


def _ratio(what: str, value: float, goal: str, bound: float, *, at_most: bool = False) -> Row:
    met = value <= bound if at_most else value >= bound
    return Row(what=what, value=f"{value:.2f}", spread="", goal=goal, met=met)


def part(setup: Setup, runs: int, quick: bool) -> tuple[list[Row], Any]:
    """Measure as a part of `make bench`."""
    result = measure(setup, runs=1 if quick else runs, requests=1_000 if quick else 6_000)
    ratios = {"ratio": result.ratio, "p99_ratio": result.p99_ratio}
    return door_rows(result), asdict(result) | ratios


def main() -> int:
    """Measure, show; 0 when the goals are met."""
    parser = argparse.ArgumentParser(prog="python -m bench.door", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--requests", type=int, default=6_000)
    parser.add_argument("--routes", action="store_true", help="compare the peer's two routes")
    asked = parser.parse_args()
    logs.configure(LogFormat.JSON, "WARNING")
    with set_up(videos=asked.requests + 1_100) as ready:
        if asked.routes:
            rows = compare_routes(ready, asked.runs, asked.requests)
        else:
            rows = door_rows(measure(ready, runs=asked.runs, requests=asked.requests))
    show(Console(width=200), rows)
    return int(not all(row.met for row in rows))


def compare_routes(setup: Setup, runs: int, requests: int) -> list[Row]:
    """Measure the peer's two ways to call `delay()`, in turn."""
    doors: dict[str, list[Door]] = {name: [] for name in fastapi_delay.ROUTES}
    for _ in range(runs):
        for name, path in fastapi_delay.ROUTES.items():
            doors[name].append(singles(setup, partial(textbook_stack, path=path), requests))
    return [_row(f"FastAPI, {name}", results) for name, results in doors.items()]


if __name__ == "__main__":
    sys.exit(main())
