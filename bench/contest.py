"""One run of one contender: start it, warm it up, hand it the videos, count, check."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Generator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any

from bench import check, costs
from bench.contenders import Contender
from bench.costs import Tree
from bench.peers import work
from bench.processes import ROOT, python
from bench.setup import Run, Setup
from publish_worker_client.events.stream_entries import STREAM

WARM_UP = 200
"""Videos published before the clock starts, by all: connections, imports, plans."""
STALLED_SECONDS = 20
"""Without another event for this long, what is missing is lost."""
NOOP_QUEUE, NOOP_UNACKNOWLEDGED = "textbook:textbook", "textbook:unacked"


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """One run. What it costs is per publish."""

    published: int = 0
    seconds: float = 0.0
    """From the first call of the producer to the last event on the stream."""
    send_seconds: float = 0.0
    """Of these, until the producer had handed over the last video."""
    cpu: dict[str, float] = field(default_factory=dict[str, float])
    """Microseconds by kind of process, and `all`."""
    wal: float = 0.0
    wal_records: float | None = None
    """Bytes in all, and without full-page images."""
    commits: float = 0.0
    dead_rows: float = 0.0
    hot_updates: float = 0.0
    peak_mib: dict[str, float] = field(default_factory=dict[str, float])
    """The largest process of a kind."""
    failure: str = ""
    """Why the figures do not count. Empty: each video was published once."""

    @property
    def rate(self) -> float:
        """Publishes a second."""
        return self.published / self.seconds if self.seconds else 0.0


class Producer:
    """A contender's producer in a process of its own."""

    def __init__(self, process: "subprocess.Popen[str]") -> None:
        self._process = process
        self.pid = process.pid

    def start(self, video_ids: Sequence[int]) -> None:
        """Let it send these videos; returns at once."""
        assert self._process.stdin
        self._process.stdin.write(json.dumps(list(video_ids)) + "\n")
        self._process.stdin.flush()

    def answer(self) -> dict[str, Any]:
        """Wait until it has sent them. Raises RuntimeError if it has ended."""
        assert self._process.stdout
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError("the producer ended by itself")
        return json.loads(line)


@contextmanager
def producer(contender: Contender, run: Run) -> Generator[Producer]:
    """Start the producer; the contender's tables are there when it has answered."""
    with (run.logs.folder / "producer.log").open("wb") as errors:
        process = subprocess.Popen(
            [sys.executable, "-m", "bench.producer", contender.name],
            cwd=ROOT,
            env=os.environ | run.environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
        )
    try:
        started = Producer(process)
        try:
            started.answer()
            yield started
        except RuntimeError as error:
            error.add_note(f"the producer wrote last:\n{run.logs.tail('producer')}")
            raise
    finally:
        process.kill()
        process.communicate()


@contextmanager
def workers(contender: Contender, run: Run) -> Generator[list[Tree]]:
    """Start the workers; gives their trees."""
    commands = contender.load().WORKERS
    with ExitStack() as stack:
        yield [
            Tree(
                kind="beat" if "beat" in command else "worker",
                pid=stack.enter_context(python(command, f"worker-{n}", run.environment, run.logs)),
            )
            for n, command in enumerate(commands)
        ]


def carry_out(setup: Setup, contender: Contender, videos: int) -> Outcome:
    """Publish this number of videos; a failure is an outcome, too."""
    try:
        with setup.run() as run:
            return _carry_out(setup, run, contender, run.video_ids[: WARM_UP + videos])
    except (check.Incorrect, RuntimeError, TimeoutError) as error:
        notes = " ".join(getattr(error, "__notes__", ()))
        return Outcome(failure=f"{error} {notes}".strip())


def _carry_out(setup: Setup, run: Run, contender: Contender, video_ids: Sequence[int]) -> Outcome:
    data = setup.home / "data"
    warm_up, measured = video_ids[:WARM_UP], video_ids[WARM_UP:]
    count = _counter(run, contender)
    with ExitStack() as stack:
        sender = stack.enter_context(producer(contender, run))
        rows_before = costs.count_rows(run.engine)
        trees = stack.enter_context(workers(contender, run)) + costs.engine_trees(data)
        sender.start(warm_up)
        sender.answer()
        _await(count, len(warm_up) if contender.same_work else 0)
        everything = [*trees, Tree(kind="producer", pid=sender.pid)]
        costs.wait_for_rest(everything)
        cpu_before, wal_start = costs.measure_cpu(trees), costs.wal_position(run.engine)
        started = time.perf_counter()
        sender.start(measured)
        sent = sender.answer()
        send_seconds = time.perf_counter() - started
        _await(count, len(video_ids) if contender.same_work else 0)
        seconds = time.perf_counter() - started
        costs.wait_for_rest(everything)  # acknowledgements and the like belong to it
        cpu, wal_end = costs.measure_cpu(trees), costs.wal_position(run.engine)
        peak = {
            tree.kind: max(tree.peak_mib(), default=0.0)
            for tree in everything
            if tree.kind not in ("postgres", "valkey")
        }
    rows = costs.count_rows(run.engine).since(rows_before)
    if contender.same_work:
        traces = check.OURS if contender.module.startswith("this_project") else check.PEERS
        check.check(run, video_ids, traces)
    wal = costs.measure_wal(run.engine, data, wal_start, wal_end)
    n = len(measured)
    cpu["producer"] = sent["cpu_seconds"]
    return Outcome(
        published=n,
        seconds=seconds,
        send_seconds=send_seconds,
        cpu=costs.per_publish(cpu, cpu_before, n),
        wal=wal.total / n,
        wal_records=wal.records / n if wal.records is not None else None,
        commits=rows.commits / len(video_ids),
        dead_rows=rows.dead / len(video_ids),
        hot_updates=rows.hot / len(video_ids),
        peak_mib=peak,
    )


def _counter(run: Run, contender: Contender) -> Callable[[], int]:
    """Return how to count what is done; for a task that does nothing, minus what is left."""
    if contender.same_work:
        stream = STREAM if contender.module.startswith("this_project") else work.STREAM
        return lambda: int(run.redis.xlen(stream))
    return lambda: -_left(run)


def _left(run: Run) -> int:
    """Count the messages that the task that does nothing has left."""
    queued: Any = run.redis.llen(NOOP_QUEUE)
    taken: Any = run.redis.hlen(NOOP_UNACKNOWLEDGED)
    return queued + taken


def _await(count: Callable[[], int], wanted: int) -> None:
    """Wait until this many are done; raise TimeoutError if none is added for a while."""
    last, since = count(), time.monotonic()
    while last < wanted:
        time.sleep(0.005)
        now = count()
        if now != last:
            last, since = now, time.monotonic()
        elif time.monotonic() - since > STALLED_SECONDS:
            raise TimeoutError(f"{last:,} of {wanted:,} after {STALLED_SECONDS} s without another")
