"""The engines on another host, 2 ms away: API, worker and beat here, PostgreSQL and Valkey there.

Needs root. Two network namespaces, joined by a link that takes a millisecond each way
(bench/slow_link.py), and by the same link without delay. Measured over both: publishes a second in
bulk, and HTTP requests a second with their latency. The two cores of the machine still carry
everything, the link included.
"""

import json
import os
import subprocess
import sys
import time
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any
from unittest.mock import patch

import psycopg
from redis import Redis

from bench import door, ours
from bench.costs import cpu_time
from bench.part import Work
from bench.processes import ROOT
from bench.report import Report, Table, figure
from bench.setup import Setup, environment, set_up
from bench.slow_link import FAR, NEAR, Link, near_address, slow_link
from bench.stacks import our_stack, wait_for_events
from worker.local.engines import DATABASE, Engines, postgres
from worker.runtime import logs
from worker.runtime.settings import LogFormat

ONE_WAY_MS = (0.0, 1.0)
PINGS = 50


@dataclass(frozen=True, kw_only=True)
class Distance:
    """The figures over one link."""

    one_way_ms: float
    ping_ms: float
    """A `SELECT 1`, there and back."""
    publishes_per_second: float
    publish_cpu_micros: dict[str, float]
    requests_per_second: float
    request_p50: float
    request_p99: float
    """Milliseconds."""


def measure(*, one_way_ms: Sequence[float], commands: int, requests: int) -> list[Distance]:
    """Measure over each link, in turn, with the same engines."""
    with (
        near_address(),
        _reachable(),
        set_up(videos=commands + requests + 2 * door.WARM_UP) as setup,
    ):
        results: list[Distance] = []
        for milliseconds in one_way_ms:
            with slow_link(milliseconds) as link:
                _admit(setup)
                results.append(_on(link, setup, milliseconds, commands, requests))
    return results


@contextmanager
def _reachable() -> Generator[None]:
    """Let PostgreSQL listen where the second host finds it."""
    listening = tuple(each for each in postgres._SETTINGS if "listen_addresses" not in each)  # noqa: SLF001  # pyright: ignore[reportPrivateUsage]
    with patch.object(postgres, "_SETTINGS", (*listening, f"listen_addresses={NEAR}")):
        yield


def _admit(setup: Setup) -> None:
    """Let both engines accept sessions from the second host, and from no other host."""
    rules = setup.home / "data" / "postgres" / "pg_hba.conf"
    rule = f"host all all {FAR}/32 trust\n"
    if rule not in rules.read_text():
        rules.write_text(rules.read_text() + rule)
    url = setup.found.database_url.replace("+psycopg", "")
    with psycopg.connect(url, autocommit=True) as session:
        session.execute("SELECT pg_reload_conf()")
    with Redis.from_url(setup.found.redis_url) as redis:
        redis.config_set("bind", f"127.0.0.1 {NEAR}")


def _on(link: Link, setup: Setup, milliseconds: float, commands: int, requests: int) -> Distance:
    """Measure on the second host, in a process there."""
    database_url = f"postgresql://postgres@{NEAR}/{DATABASE}?port=5432"
    redis_url = setup.found.redis_url.replace("127.0.0.1", NEAR)
    job: dict[str, Any] = {
        "database_url": database_url,
        "redis_url": redis_url,
        "video_ids": setup.video_ids,
        "home": str(setup.home),
        "one_way_ms": milliseconds,
        "commands": commands,
        "requests": requests,
    }
    done = subprocess.run(
        link.command("-m", "bench.distance"),
        cwd=ROOT,
        env=os.environ | environment(database_url, redis_url),
        input=json.dumps(job),
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise RuntimeError(f"the measurement on the second host failed:\n{done.stderr[-3000:]}")
    return Distance(**json.loads(done.stdout.splitlines()[-1]))


def _inside(job: dict[str, Any]) -> Distance:
    """The measurement itself, on the second host."""
    found = Engines(database_url=job["database_url"], redis_url=job["redis_url"])
    setup = Setup(found=found, video_ids=job["video_ids"], home=Path(job["home"]))
    with setup.run() as run, our_stack(setup, run) as stack:
        waking, ids = ours.make_waker(run), run.video_ids
        ours.enqueue_all(run.engine, waking, ids[: door.WARM_UP])
        wait_for_events(stack, door.WARM_UP)
        with cpu_time(stack.trees) as used:
            started = time.perf_counter()
            bulk = ids[door.WARM_UP : door.WARM_UP + job["commands"]]
            ours.enqueue_all(run.engine, waking, bulk)
            wait_for_events(stack, door.WARM_UP + len(bulk))
            seconds = time.perf_counter() - started
        done = door.WARM_UP + len(bulk)
        singles = ids[done : done + door.WARM_UP + job["requests"]]
        http = door.singles_on(stack, singles, before=done)
    return Distance(
        one_way_ms=job["one_way_ms"],
        ping_ms=_ping(job["database_url"]),
        publishes_per_second=len(bulk) / seconds,
        publish_cpu_micros=used.micros_per(len(bulk)),
        requests_per_second=http.per_second,
        request_p50=http.p50,
        request_p99=http.p99,
    )


def _ping(database_url: str) -> float:
    """Return the shortest time of a statement that does nothing, in milliseconds."""
    with psycopg.connect(database_url, autocommit=True) as session:
        times: list[float] = []
        for _ in range(PINGS):
            started = time.perf_counter()
            session.execute("SELECT 1")
            times.append(time.perf_counter() - started)
    return 1_000 * min(times)


def _table(results: Sequence[Distance]) -> Table:
    first = results[0]
    return Table(
        title="Engines on another host",
        note="The first link has no delay; the second takes a millisecond each way. CPU is in µs "
        "per publish.",
        head=(
            *("SELECT 1 takes", "publishes a second", "of the first", "CPU"),
            *("HTTP requests a second", "of the first", "p50, ms", "p99, ms"),
        ),
        rows=[
            (
                f"{each.ping_ms:.2f} ms",
                figure(each.publishes_per_second),
                f"{each.publishes_per_second / first.publishes_per_second:.2f}",
                figure(each.publish_cpu_micros["all"]),
                figure(each.requests_per_second),
                f"{each.requests_per_second / first.requests_per_second:.2f}",
                figure(each.request_p50),
                figure(each.request_p99),
            )
            for each in results
        ],
    )


def part(_setup: Setup, work: Work) -> Report:
    """Measure as a part of `make bench`, on engines of its own."""
    if os.geteuid() or not Path("/dev/net/tun").exists():
        work.progress.end("left out: it needs root and /dev/net/tun")
        return Report()
    commands, requests = work.choose(quick=(300, 100), whole=(4_000, 600))
    results = measure(
        one_way_ms=work.choose(quick=ONE_WAY_MS[-1:], whole=ONE_WAY_MS),
        commands=commands,
        requests=requests,
    )
    return Report(tables=[_table(results)], numbers=[asdict(each) for each in results])


def main() -> None:
    """Measure on the second host: the job is read, the result is written as JSON."""
    logs.configure(LogFormat.JSON, "WARNING")
    print(json.dumps(asdict(_inside(json.load(sys.stdin)))))


if __name__ == "__main__":
    main()
