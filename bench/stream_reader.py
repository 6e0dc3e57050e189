"""A subscriber as cheap as Python allows, the same for every contender: a blocking XREAD loop.

    python -m bench.stream_reader STREAM EVENTS        Redis from REDIS_URL

It notes when each video's `video.published` arrives, by CLOCK_MONOTONIC, which all processes share,
and writes the times as JSON once it has EVENTS of them.
"""

import json
import os
import subprocess
import sys
import time
from collections.abc import Generator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from pydantic_core import from_json
from redis import Redis

from bench.processes import ROOT

if TYPE_CHECKING:
    from bench.setup import Run  # the reader itself starts faster without

READ_AT_ONCE = 500


class StreamReader:
    """The process that reads."""

    def __init__(self, process: "subprocess.Popen[str]") -> None:
        self._process = process

    def arrivals(self, seconds: float) -> dict[int, float]:
        """Return when each video's first event arrived. Raises TimeoutExpired."""
        output, _ = self._process.communicate(timeout=seconds)
        return {int(video_id): at for video_id, at in json.loads(output).items()}


@contextmanager
def stream_reader(run: "Run", stream: str, events: int) -> Generator[StreamReader]:
    """Read the stream from its end in a process of its own, until it has `events` events."""
    process = subprocess.Popen(
        [sys.executable, "-m", "bench.stream_reader", stream, str(events)],
        cwd=ROOT,
        env=os.environ | run.environment,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout
    if process.stdout.readline() != "reading\n":
        raise RuntimeError("the stream's reader did not start")
    try:
        yield StreamReader(process)
    finally:
        process.kill()
        process.wait()


def _read(redis: Redis, stream: str, events: int) -> dict[int, float]:
    arrived: dict[int, float] = {}
    last: Any = redis.xrevrange(stream, count=1)
    after: bytes = last[0][0] if last else b"0-0"
    print("reading", flush=True)
    while len(arrived) < events:
        answer: Any = redis.xread({stream: after}, count=READ_AT_ONCE, block=1_000)
        at = time.monotonic()
        for _, entries in answer or ():
            for after, fields in entries:  # noqa: B007 - the last one is where the next read begins
                event = from_json(fields[b"event"])
                if event["type"] == "video.published":
                    arrived.setdefault(int(event["subject"]), at)
    return arrived


def main() -> int:
    """Read, then write what arrived."""
    _, stream, events = sys.argv
    with Redis.from_url(os.environ["REDIS_URL"]) as redis:
        json.dump(_read(redis, stream, int(events)), sys.stdout)
    return 0


if __name__ == "__main__":
    sys.exit(main())
