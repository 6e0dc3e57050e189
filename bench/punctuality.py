"""Punctuality: how late timed commands are, from the moment they fall due to their commit.

Alone at random moments, and many within a minute; both again with a great many other commands in
the table that fall due months later.
"""

import random
import time
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from itertools import accumulate, islice
from statistics import median, quantiles
from typing import Any
from uuid import UUID

from bench import ours
from bench.part import Work
from bench.processes import wait_for
from bench.progress import Progress
from bench.report import Report, Row, at_most, figure
from bench.setup import WORKSPACE, Run, Setup, unlimited, vacuum
from db.commands.claim import CLAIM_DUE, claim_parameters
from db.session import to_array, transaction
from worker.publish.run import BATCH

GOAL_SPREAD_MS = 100.0
"""The 99th percentile, where many fall due at any time."""
GOAL_IDLE_MS = 15.0
"""The median, where one falls due at a time."""
GOAL_READ = 20
"""Rows that a claim may read beyond those that it takes."""
LOOKED_UP = 3
"""Rows of its video that a claim may look up for each command that it takes, itself included."""
LEAD = timedelta(seconds=3)
"""From before the first call that enqueues until the first command falls due; for each thousand
commands it is longer by `LEAD_PER_THOUSAND`."""
LEAD_PER_THOUSAND = timedelta(seconds=0.6)
PAUSE_SECONDS = (0.1, 0.4)
"""Between two lone commands, at random, so that they meet the sweeps at every phase."""

# From due to committed, and from due to claimed, in milliseconds. The caller's time counts, not
# the one that the worker computed. PostgreSQL records a commit's time just before it flushes it.
MEASURE = """
SELECT 1000 * extract(epoch FROM pg_xact_commit_timestamp(xmin) - due)::float8,
       1000 * extract(epoch FROM claimed_at - due)::float8,
       extract(epoch FROM due)::float8
FROM (
    SELECT *, xmin, greatest(asked_for, accepted_at) AS due FROM publisher.publish_command
) command
WHERE id = ANY(%(ids)s::uuid[]) AND state = 'published'
ORDER BY due
"""

COUNT_PUBLISHED = """
SELECT count(*) FROM publisher.publish_command
WHERE id = ANY(%(ids)s::uuid[]) AND state = 'published'
"""

# Commands of other videos in ten workspaces, due in two to six months, as years of planning would
# leave them. A workspace may have a million.
PLAN_AHEAD = """
INSERT INTO publisher.publish_command
    (id, video_id, workspace_id, trigger, asked_for, due_at, patient_until, correlation_id)
SELECT uuidv7(), 1000000000 + n, %(workspace_id)s + n %% 10, 'api', due_at, due_at,
       due_at + interval '1 day', 'bench-far'
FROM generate_series(1, %(count)s) n,
     LATERAL (
         SELECT now() + interval '60 days'
                + interval '120 days' * ((n * 7919::bigint %% %(count)s) / %(count)s::float8)
                AS due_at
     ) planned
"""


@dataclass(frozen=True, kw_only=True)
class Lateness:
    """The lateness of a group of commands: milliseconds from due to committed."""

    commands: int
    median: float
    p95: float
    p99: float
    largest: float
    claimed: float
    """The median from due to claimed: what the way to the worker costs."""


@dataclass(frozen=True, kw_only=True)
class Claim:
    """What one claim read of the inbox."""

    taken: int
    read: int
    """Rows that the scans by due time looked at."""
    looked_up: int
    """Rows that it looked up of the videos concerned: what else is asked of each."""
    pages: int
    """Buffers, hit or read, of everything that the statement did."""
    milliseconds: float


@dataclass(frozen=True, kw_only=True)
class Scenario:
    """Timed commands beside `far` others that are due much later."""

    far: int
    spread: Lateness
    idle: Lateness
    claims: list[Claim]
    """Of a full batch before the timed commands, and of nothing after them."""

    @property
    def excess(self) -> int:
        """The most rows that a claim read beyond those that it took and some for each of them.

        Those that it took are read twice: a claim first counts whether more are due than fit.
        """
        return max(
            each.read + max(0, each.looked_up - LOOKED_UP * each.taken) - 2 * each.taken
            for each in self.claims
        )


def measure(
    setup: Setup,
    progress: Progress,
    *,
    commands: int,
    seconds: float,
    alone: int,
    far: Sequence[int],
) -> list[Scenario]:
    """Measure beside each number of others that are due much later, on a new database."""
    results: list[Scenario] = []
    for count in far:
        progress.begin(f"punctuality: {count:,} commands are due much later")
        found = _scenario(setup, commands=commands, seconds=seconds, alone=alone, far=count)
        results.append(found)
    return results


def lateness(run: Run, ids: Sequence[UUID]) -> Lateness:
    """How late these commands were. Raises Incorrect unless each was published."""
    rows = times(run, ids)
    late = [row[0] for row in rows]
    hundredths = quantiles(late, n=100, method="inclusive")
    return Lateness(
        commands=len(late),
        median=median(late),
        p95=hundredths[94],
        p99=hundredths[98],
        largest=max(late),
        claimed=median(row[1] for row in rows),
    )


def times(run: Run, ids: Sequence[UUID]) -> list[tuple[float, float, float]]:
    """Each command's way to its commit and to its claim in ms, and its due time since 1970."""
    with transaction(run.engine) as tx:
        rows: Any = tx.execute(MEASURE, {"ids": to_array(ids)}).fetchall()
    if len(rows) != len(ids):
        raise ours.Incorrect(f"of {len(ids)} commands {len(rows)} were published")
    return rows


def await_published(run: Run, ids: Sequence[UUID], seconds: float = 120) -> None:
    """Wait until all of these are published."""

    def done() -> bool:
        time.sleep(0.05)  # the count costs the server something
        with transaction(run.engine) as tx:
            return tx.execute(COUNT_PUBLISHED, {"ids": to_array(ids)}).fetchone() == (len(ids),)

    wait_for(done, f"{len(ids)} publications", seconds)


def _scenario(setup: Setup, *, commands: int, seconds: float, alone: int, far: int) -> Scenario:
    with setup.run() as run:
        _plan_ahead(run, far)
        videos = iter(run.video_ids)
        first = ours.accept(run, ((each, None) for each in islice(videos, BATCH)))
        before = _explain(run)
        with ours.worker(run):
            await_published(run, first)
            idle = _idle(run, list(islice(videos, alone)))
            spread = _spread(run, list(islice(videos, commands)), seconds)
        return Scenario(far=far, spread=spread, idle=idle, claims=[before, _explain(run)])


def _idle(run: Run, video_ids: Sequence[int]) -> Lateness:
    """One at a time, at random moments."""
    pauses = accumulate(random.uniform(*PAUSE_SECONDS) for _ in video_ids)  # noqa: S311
    return _timed(run, video_ids, list(pauses))


def _spread(run: Run, video_ids: Sequence[int], seconds: float) -> Lateness:
    """Many, at random moments within `seconds`."""
    return _timed(run, video_ids, [random.uniform(0, seconds) for _ in video_ids])  # noqa: S311


def _timed(run: Run, video_ids: Sequence[int], offsets: Sequence[float]) -> Lateness:
    start = datetime.now(UTC) + LEAD + LEAD_PER_THOUSAND * len(video_ids) / 1_000
    moments = (start + timedelta(seconds=offset) for offset in offsets)
    ids = ours.accept(run, zip(video_ids, moments, strict=True))
    if datetime.now(UTC) > start:
        raise ours.Incorrect("enqueuing was not over when the first command fell due")
    end = start + timedelta(seconds=max(offsets))
    time.sleep(max(0.0, (end - datetime.now(UTC)).total_seconds()))
    await_published(run, ids)
    return lateness(run, ids)


def _plan_ahead(run: Run, count: int) -> None:
    """Fill the table, and leave it as autovacuum would."""
    if count:
        with unlimited(run.engine) as tx:
            tx.execute(PLAN_AHEAD, {"count": count, "workspace_id": WORKSPACE})
    vacuum(run.engine)


def _explain(run: Run) -> Claim:
    """Claim as the worker does, and undo it."""
    statement: Any = f"EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) {CLAIM_DUE}"
    with transaction(run.engine) as tx:
        row: Any = tx.execute(statement, claim_parameters(BATCH)).fetchone()
        tx.rollback()
    [explained] = row[0]
    plan = explained["Plan"]
    return Claim(
        taken=round(plan["Actual Rows"]),
        read=sum(_rows_read(node) for node, inner in _nodes(plan) if not inner),
        looked_up=sum(_rows_read(node) for node, inner in _nodes(plan) if inner),
        pages=plan["Shared Hit Blocks"] + plan["Shared Read Blocks"],
        milliseconds=explained["Execution Time"],
    )


def _nodes(plan: dict[str, Any], *, inner: bool = False) -> Iterable[tuple[dict[str, Any], bool]]:
    """Every node, and whether it is run for each row of another."""
    inner = inner or plan.get("Parent Relationship") == "SubPlan"
    yield plan, inner
    for each in plan.get("Plans", ()):
        yield from _nodes(each, inner=inner)


def _rows_read(node: dict[str, Any]) -> int:
    """The rows of the inbox that a scan looked at, those that it threw away included."""
    if node.get("Relation Name") != "publish_command" or "Scan" not in node["Node Type"]:
        return 0
    seen = ("Actual Rows", "Rows Removed by Filter", "Rows Removed by Index Recheck")
    return round(node["Actual Loops"] * sum(node.get(each, 0) for each in seen))


def _goals(scenario: Scenario) -> list[Row]:
    beside = f", {scenario.far:,} due later" if scenario.far else ""
    idle, many = scenario.idle, scenario.spread
    pages = f"at most {max(each.pages for each in scenario.claims):,} pages"
    return [
        at_most(f"lateness, one{beside}", idle.median, GOAL_IDLE_MS, " ms", _tail(idle)),
        at_most(f"lateness p99, many{beside}", many.p99, GOAL_SPREAD_MS, " ms", _tail(many)),
        at_most(f"extra rows read by a claim{beside}", scenario.excess, GOAL_READ, "", pages),
    ]


def _tail(late: Lateness) -> str:
    return f"p50 {figure(late.median)}, p99 {figure(late.p99)}, max {figure(late.largest)} ms"


def part(setup: Setup, work: Work) -> Report:
    """Measure as a part of `make bench`."""
    commands, seconds = work.choose(quick=(200, 2), whole=(2_000, 12), long=(10_000, 60))
    scenarios = measure(
        setup,
        work.progress,
        commands=commands,
        seconds=seconds,
        alone=work.choose(quick=5, whole=40, long=100),
        far=work.choose(quick=(10_000,), whole=(200_000,), long=(0, 1_000_000)),
    )
    goals = [row for scenario in scenarios for row in _goals(scenario)]
    return Report(goals=goals, numbers=[asdict(each) for each in scenarios])
