"""Generation's end: from a plain SQL commit that ends it to the event in a subscriber's hands."""

import random
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from statistics import median, quantiles

import psycopg

from bench import ours
from bench.part import Work
from bench.processes import wait_for
from bench.report import Report, at_most, figure
from bench.setup import Run, Setup
from bench.subscriber import Arrivals, subscriber
from db.session import to_array, transaction

GOAL_MS = 30.0
WARM_UP = 10
PAUSE_SECONDS = (0.05, 0.25)
"""Between two videos, at random, so that they meet the sweeps at every phase."""

BEGIN = "UPDATE video SET status = 'in_progress', internal_status = 'rendering' WHERE id = ANY(%s)"

# As the platform would: its own connection, its own columns, and no word to anyone.
COMPLETE = """
UPDATE video SET status = 'completed', internal_status = 'completed', generation_progress = 100
WHERE id = %s
"""

COUNT_WAITING = """
SELECT count(*) FROM publisher.publish_command
WHERE video_id = ANY(%(ids)s::bigint[]) AND state = 'waiting'
"""


@dataclass(frozen=True, kw_only=True)
class Generation:
    """Milliseconds of each video, in order, until its event was there."""

    before: list[float]
    """From just before the commit was sent."""
    after: list[float]
    """From just after it had returned."""

    @property
    def median(self) -> float:
        """Half are faster; from just before the commit."""
        return median(self.before)

    def percentile(self, number: int) -> float:
        """The percentile `number` (1 to 99), from just before the commit."""
        return quantiles(self.before, n=100, method="inclusive")[number - 1]


def measure(setup: Setup, *, videos: int) -> Generation:
    """All videos wait from the start; generation ends for one at a time."""
    with setup.run() as run, subscriber(run) as arrivals:
        ids = run.video_ids[: WARM_UP + videos]
        url = run.environment["DATABASE_URL"]
        with psycopg.connect(url) as platform, ours.worker(run):
            platform.execute(BEGIN, [list(ids)])
            platform.commit()
            ours.accept(run, ((each, None) for each in ids))
            wait_for(lambda: _waiting(run, ids) == len(ids), "all commands to wait")
            times = [_time(platform, each, arrivals) for each in ids]
        ours.check(run, ids)
    measured = times[WARM_UP:]
    return Generation(
        before=[before for before, _ in measured], after=[after for _, after in measured]
    )


def _time(platform: psycopg.Connection, video_id: int, arrivals: Arrivals) -> tuple[float, float]:
    time.sleep(random.uniform(*PAUSE_SECONDS))  # noqa: S311 - a pause is not a secret
    platform.execute(COMPLETE, [video_id])
    before = time.perf_counter()
    platform.commit()
    after = time.perf_counter()
    arrived, at = arrivals.get(timeout=90)
    if arrived != video_id:
        raise ours.Incorrect(f"{video_id} was completed, received {arrived}")
    return 1_000 * (at - before), 1_000 * (at - after)


def _waiting(run: Run, ids: Sequence[int]) -> int:
    with transaction(run.engine) as tx:
        row = tx.execute(COUNT_WAITING, {"ids": to_array(ids)}).fetchone()
    return row[0] if row else 0


def part(setup: Setup, work: Work) -> Report:
    """Measure as a part of `make bench`."""
    result = measure(setup, videos=work.choose(quick=10, whole=50, long=100))
    late = f"p95 {figure(result.percentile(95))}, p99 {figure(result.percentile(99))} ms"
    goal = at_most("end of generation to the event", result.median, GOAL_MS, " ms", late)
    return Report(goals=[goal], numbers=asdict(result))
