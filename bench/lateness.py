"""How late timed publications are, and those of Celery `eta`, APScheduler and Procrastinate.

All are due at random moments within a minute and scheduled beforehand. Lateness runs from the
moment asked for to the commit of the publish, by PostgreSQL's own commit timestamp. The peers do
the textbook worker's work (bench/peers/textbook.py) in two processes. They get fewer publications
where they cannot keep up with as many. APScheduler and Procrastinate are left out where they are
not installed.
"""

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Generator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from functools import partial
from importlib.util import find_spec
from statistics import median, quantiles

from bench import ours, punctuality
from bench.part import Work
from bench.peers import textbook, work
from bench.processes import ROOT, python, wait_for
from bench.progress import Progress
from bench.report import Report, Row, Table, at_most, figure
from bench.setup import WORKSPACE, Run, Setup, unlimited, vacuum
from db.sample_data import multiply_ready
from db.session import transaction

GOALS_MS = {10_000: 10.0, 60_000: 50.0}
"""The 99th percentile of ours, by publications in a minute."""
KEEPS_UP_MS = 10_000.0
"""A contender whose 99th percentile is above this does not keep up."""
WARM_UP = 100
ENQUEUED_PER_SECOND = 2_500
"""At least; the first publication falls due after this time and three seconds."""
QUIET = ("--without-gossip", "--without-mingle", "--without-heartbeat")

# From due to committed, in milliseconds, of what the textbook's function wrote.
MEASURE = """
SELECT 1000 * (extract(epoch FROM pg_xact_commit_timestamp(o.xmin)) - due)::float8
FROM peer_outbox o
JOIN jsonb_to_recordset(%(jobs)s::jsonb) AS job (video_id bigint, due float8) USING (video_id)
"""

Jobs = Sequence[tuple[int, float]]
"""Videos, and when they are due, in seconds since 1970."""
Schedule = Callable[[Jobs], None]
Peer = Callable[[Run], AbstractContextManager[Schedule]]


@dataclass(frozen=True, kw_only=True)
class Late:
    """One contender's lateness, in milliseconds."""

    name: str
    commands: int
    seconds: float
    """In which they fall due."""
    p50: float
    p99: float
    largest: float
    lost: int
    """Publications that were not made until long after the last was due."""

    @property
    def keeps_up(self) -> bool:
        """Whether it carries out as much as falls due."""
        return not self.lost and self.p99 <= KEEPS_UP_MS


def measure_ours(setup: Setup, *, commands: int, seconds: float) -> Late:
    """Schedule through `enqueue`, with worker and beat running."""
    with setup.run() as run, ours.worker(run):
        ids = _videos(run, WARM_UP + commands)
        punctuality.await_published(run, ours.accept(run, ((each, None) for each in ids[:WARM_UP])))
        jobs = _plan(ids[WARM_UP:], seconds, lead=3 + commands / ENQUEUED_PER_SECOND)
        moments = ((each, datetime.fromtimestamp(due, UTC)) for each, due in jobs)
        accepted = ours.accept(run, moments)
        _check_lead(jobs)
        _sleep_until_the_last(jobs)
        punctuality.await_published(run, accepted)
        times = [late for late, _, _ in punctuality.times(run, accepted)]
    return _late("publish-worker", times, commands, seconds)


def _peer(
    setup: Setup, *, name: str, start: Peer, commands: int, seconds: float, patience: float = 60
) -> Late:
    """Schedule with a peer; what is not published `patience` seconds after the last is lost."""
    with setup.run() as run:
        with transaction(run.engine) as tx:
            tx.execute(work.OUTBOX)
        ids = run.video_ids[: WARM_UP + commands]
        with start(run) as schedule:
            schedule([(each, time.time()) for each in ids[:WARM_UP]])
            wait_for(lambda: run.redis.xlen(work.STREAM) >= WARM_UP, f"the warm-up of {name}")
            jobs = _plan(ids[WARM_UP:], seconds, lead=3 + commands / 150)
            schedule(jobs)
            _check_lead(jobs)
            _sleep_until_the_last(jobs)
            deadline = time.monotonic() + patience
            while len(times := _times(run, jobs)) < commands and time.monotonic() < deadline:
                time.sleep(0.5)
    return _late(name, times, commands, seconds)


@contextmanager
def _celery(run: Run) -> Generator[Schedule]:
    """Messages with `eta`: the worker fetches them all, and keeps them in its memory."""
    command = ["celery", "-A", "bench.peers.textbook", "worker", "-c", "2", "-O", "fair", *QUIET]
    with python(command, "textbook", run.environment, run.logs):
        yield partial(_send_eta, run)


def _send_eta(run: Run, jobs: Jobs) -> None:
    textbook.app.conf.update(broker_url=run.environment["BROKER_URL"])
    with textbook.app.producer_or_acquire() as producer:
        for video_id, due in jobs:
            eta = datetime.fromtimestamp(due, UTC)
            textbook.publish_video.apply_async((video_id,), eta=eta, producer=producer)


@contextmanager
def _procrastinate(run: Run, polling_seconds: float) -> Generator[Schedule]:
    """Two worker processes, one job at a time in each."""
    from bench.peers import procrastinate_schedule as peer  # noqa: PLC0415 - may not be installed

    url = run.environment["DATABASE_URL"]
    peer.create_tables(url)
    arguments = ["procrastinate", "--app", "bench.peers.procrastinate_schedule.app", "worker"]
    polling = ["--fetch-job-polling-interval", str(polling_seconds)]
    with ExitStack() as stack:
        for number in range(2):
            name = f"procrastinate-{number}"
            stack.enter_context(python([*arguments, *polling], name, run.environment, run.logs))
        yield partial(peer.schedule_all, url)


@contextmanager
def _apscheduler(run: Run) -> Generator[Schedule]:
    """A scheduler process for each group of jobs: they can only be added in its own."""
    with ExitStack() as stack:

        def schedule(jobs: Jobs) -> None:
            process = subprocess.Popen(
                [sys.executable, "-m", "bench.peers.apscheduler_dates"],
                cwd=ROOT,
                env=os.environ | run.environment,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                text=True,
                start_new_session=True,
            )
            stack.callback(process.wait)
            stack.callback(os.killpg, process.pid, signal.SIGTERM)  # its pool outlives it
            assert process.stdin
            assert process.stdout
            json.dump(jobs, process.stdin)
            process.stdin.close()
            if process.stdout.readline() != "added\n":
                raise RuntimeError("APScheduler did not add the jobs")

        yield schedule


def peers(counts: dict[str, int]) -> list[tuple[str, Peer, int]]:
    """Return the peers that are installed, each with the number of its publications."""
    found: list[tuple[str, Peer, int]] = [("Celery eta", _celery, counts["celery"])]
    if find_spec("apscheduler"):
        found.append(("APScheduler 3", _apscheduler, counts["apscheduler"]))
    if find_spec("procrastinate"):
        for seconds in (5.0, 0.1):
            name = f"Procrastinate, polling every {seconds:g} s"
            peer = partial(_procrastinate, polling_seconds=seconds)
            found.append((name, peer, counts["procrastinate"]))
    return found


A_MINUTE = {"celery": 10_000, "apscheduler": 2_000, "procrastinate": 2_000}
"""The publications of the peers, which carry out fewer."""


def measure(
    setup: Setup,
    progress: Progress,
    *,
    ours_counts: Sequence[int],
    seconds: float,
    peers_seconds: float,
    most_peers: int,
) -> list[Late]:
    """Ours with each number of publications, then the peers, for a shorter time at their rates."""
    results: list[Late] = []
    for count in ours_counts:
        progress.begin(f"lateness: {count:,} publications of ours within {seconds:.0f} s")
        results.append(measure_ours(setup, commands=count, seconds=seconds))
        progress.end(f"p99 {results[-1].p99:.1f} ms")
    counts = {name: int(count * peers_seconds / 60) for name, count in A_MINUTE.items()}
    for name, start, count in peers(counts)[:most_peers]:
        progress.begin(f"lateness: {count:,} of {name} within {peers_seconds:.0f} s")
        done = _peer(setup, name=name, start=start, commands=count, seconds=peers_seconds)
        results.append(done)
        progress.end(f"p99 {done.p99:.1f} ms")
    return results


def _videos(run: Run, count: int) -> list[int]:
    """Return this number of ready drafts; more are copied if there are too few."""
    missing = count - len(run.video_ids)
    if missing <= 0:
        return run.video_ids[:count]
    with unlimited(run.engine) as tx:
        more = multiply_ready(tx, workspace_id=WORKSPACE, count=missing)
    vacuum(run.engine)
    return [*run.video_ids, *more]


def _plan(video_ids: Sequence[int], seconds: float, lead: float) -> list[tuple[int, float]]:
    start = time.time() + lead
    return [(each, start + random.uniform(0, seconds)) for each in video_ids]  # noqa: S311


def _check_lead(jobs: Jobs) -> None:
    if time.time() > min(due for _, due in jobs):
        raise ours.Incorrect("scheduling was not over when the first publication fell due")


def _sleep_until_the_last(jobs: Jobs) -> None:
    time.sleep(max(0.0, max(due for _, due in jobs) - time.time()))


def _times(run: Run, jobs: Jobs) -> list[float]:
    rows = json.dumps([{"video_id": video_id, "due": due} for video_id, due in jobs])
    with transaction(run.engine) as tx:
        return [row[0] for row in tx.execute(MEASURE, {"jobs": rows}).fetchall()]


def _late(name: str, times: Sequence[float], commands: int, seconds: float) -> Late:
    return Late(
        name=name,
        commands=commands,
        seconds=seconds,
        p50=median(times),
        p99=quantiles(times, n=100, method="inclusive")[98],
        largest=max(times),
        lost=commands - len(times),
    )


def _goals(results: Sequence[Late]) -> list[Row]:
    return [
        at_most(
            f"lateness p99, {late.commands:,} due within a minute",
            late.p99,
            GOALS_MS[late.commands],
            " ms",
            f"p50 {figure(late.p50)}, max {figure(late.largest)} ms",
        )
        for late in results
        if late.commands in GOALS_MS and late.name == "publish-worker"
    ]


def _table(results: Sequence[Late]) -> Table:
    return Table(
        title="Lateness of timed publications",
        note="From the moment asked for to the commit, in ms.",
        head=("", "publications", "within, s", "p50", "p99", "max", "lost", "keeps up"),
        rows=[
            (
                late.name,
                f"{late.commands:,}",
                f"{late.seconds:g}",
                *(figure(each) for each in (late.p50, late.p99, late.largest)),
                f"{late.lost:,}",
                "yes" if late.keeps_up else "no",
            )
            for late in results
        ],
    )


def part(setup: Setup, work: Work) -> Report:
    """Measure as a part of `make bench`."""
    results = measure(
        setup,
        work.progress,
        ours_counts=work.choose(quick=[300], whole=list(GOALS_MS)),
        seconds=work.choose(quick=2.0, whole=60.0),
        peers_seconds=work.choose(quick=1.0, whole=6.0, long=60.0),
        most_peers=work.choose(quick=0, whole=1, long=len(A_MINUTE) + 1),
    )
    numbers = [asdict(result) for result in results]
    return Report(goals=_goals(results), tables=[_table(results)], numbers=numbers)
