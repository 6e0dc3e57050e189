"""Server-Sent Events: from an event's commit to one reader, and to a thousand of one API process.

    python -m bench.sse                        about a minute on two cores
    python -m bench.sse --readers 2000 --events 100

This process is the worker: it commits one publication at a time and relays it. The API is one real
process, the readers are another. Clocks: CLOCK_MONOTONIC, which all processes share.
"""

import argparse
import asyncio
import json
import os
import random
import resource
import subprocess
import sys
import time
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from statistics import median, quantiles
from typing import Any

from bench import ours
from bench.processes import ROOT, resident
from bench.setup import WORKSPACE, Run, set_up
from schemas.command import PublishRequest
from schemas.values.caller import Scope
from worker.enqueue.accept import enqueue
from worker.events.redis_stream import relay
from worker.operations.api_keys import create_key
from worker.publish.run import run_due
from worker.runtime import logs
from worker.runtime.settings import LogFormat

GOAL_MS = 20.0
WARM_UP = 10
PAUSE_SECONDS = (0.05, 0.15)
BASE_URL = "https://videos.example.com"
CONNECTING = 50
"""Readers that connect at the same time."""


@dataclass(frozen=True, kw_only=True)
class Result:
    """Milliseconds from commit to reader: of every reader, and of each event's last one."""

    readers: int
    every: list[float]
    last: list[float]
    mib_per_reader: float

    @property
    def met(self) -> bool:
        """Whether the goal is reached."""
        return median(self.every) <= GOAL_MS

    def line(self) -> str:
        """For people."""
        return (
            f"{self.readers:>5} readers: median {median(self.every):6.1f} ms,"
            f" p99 {quantiles(self.every, n=100)[98]:6.1f} ms;"
            f" the last reader of each event: median {median(self.last):6.1f} ms;"
            f" API memory per reader {1024 * self.mib_per_reader:.0f} KiB"
        )


def main() -> int:
    """Measure one reader and many; 0 when the goal is met with one."""
    parser = argparse.ArgumentParser(prog="python -m bench.sse", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("--readers", type=int, default=1_000)
    parser.add_argument("--events", type=int, default=200)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--read", nargs=2, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    _allow_files()
    if asked.read:
        port, key = asked.read
        asyncio.run(_read_all(int(port), key, asked.readers, asked.events))
        return 0
    logs.configure(LogFormat.JSON, "WARNING")
    results: list[Result] = []
    with set_up(videos=2 * asked.runs * (asked.events + WARM_UP) + 100) as ready:
        for readers in [1] * asked.runs + [asked.readers] * asked.runs:
            with ready.run() as run:
                results.append(measure(run, readers, asked.events))
            print(results[-1].line(), flush=True)
    one = median(median(result.every) for result in results if result.readers == 1)
    print(f"goal: median {GOAL_MS:g} ms from commit to a reader; measured {one:.1f} ms")
    return int(one > GOAL_MS)


def measure(run: Run, readers: int, events: int) -> Result:
    """Commit and relay one publication at a time, and compare with when each reader had it."""
    key = create_key(run.engine, name="bench", scope=Scope.EVENTS, workspace_id=WORKSPACE)
    with ours.api(run) as (pid, port):
        before = resident(pid)["rss"]
        with _readers(port, key, readers, events + WARM_UP) as hearing:
            grown = resident(pid)["rss"] - before
            committed = [_publish(run, video) for video in run.video_ids[: events + WARM_UP]]
            arrived = json.loads(hearing.communicate(timeout=120)[0])
    every: list[float] = []
    last: list[float] = []
    for at, heard in list(zip(committed, arrived, strict=True))[WARM_UP:]:
        late = [1_000 * (each - at) for each in heard]
        every += late
        last.append(max(late))
    return Result(readers=readers, every=every, last=last, mib_per_reader=grown / readers)


def _publish(run: Run, video_id: int) -> float:
    """Publish one video as a worker does; return when it was committed."""
    time.sleep(random.uniform(*PAUSE_SECONDS))  # noqa: S311 - a pause is not a secret
    committed: list[float] = []

    def after_commit(_: object) -> None:
        committed.append(time.monotonic())
        relay(run.engine, run.redis, BASE_URL)

    enqueue(run.engine, ours.make_waker(run), [PublishRequest(video_id=video_id)], ours.ORIGIN)
    run_due(run.engine, base_url=BASE_URL, wake=lambda: None, committed=after_commit)
    return committed[0]


@contextmanager
def _readers(port: int, key: str, count: int, events: int) -> Generator[subprocess.Popen[str]]:
    """A process with `count` readers, once all of them are connected."""
    arguments = [f"--readers={count}", f"--events={events}", "--read", str(port), key]
    process = subprocess.Popen(
        [sys.executable, "-m", "bench.sse", *arguments],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout
    if process.stdout.readline() != "connected\n":
        raise RuntimeError("the readers could not connect")
    try:
        yield process
    finally:
        process.kill()
        process.wait()


async def _read_all(port: int, key: str, count: int, events: int) -> None:
    """Connect, say so, note when each event arrives at each reader, and print that."""
    at_once = asyncio.Semaphore(CONNECTING)
    connections = await asyncio.gather(*(_connect(port, key, at_once) for _ in range(count)))
    print("connected", flush=True)
    arrived: list[list[float]] = [[] for _ in range(events)]
    await asyncio.gather(*(_hear(reader, arrived) for reader, _ in connections))
    print(json.dumps(arrived))


async def _connect(port: int, key: str, at_once: asyncio.Semaphore) -> Any:
    async with at_once:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        asked = "GET /api/v1/events/stream HTTP/1.1\r\nHost: bench\r\n"
        writer.write(f"{asked}Authorization: Bearer {key}\r\n\r\n".encode())
        await reader.readuntil(b": after 0")
        return reader, writer


async def _hear(reader: asyncio.StreamReader, arrived: list[list[float]]) -> None:
    """Note when an event's type is there: the rest of it came in the same write."""
    for heard in arrived:
        await reader.readuntil(b"event: video.")
        heard.append(time.monotonic())


def _allow_files() -> None:
    """As many open files as we may have: a thousand readers are a thousand sockets."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    os.environ.setdefault("PYTHONWARNINGS", "ignore")


if __name__ == "__main__":
    sys.exit(main())
