"""Memory: how much each process uses after a number of publishes, and whether it grows.

Everything is enqueued over HTTP, a thousand commands a request, so that the API works too.
"""

import os
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field
from pathlib import Path

from bench import ours
from bench.door import to_bulk
from bench.http_load import Job, send
from bench.part import Work
from bench.processes import children, resident
from bench.progress import Progress
from bench.report import Report, Row, Table, at_most, figure
from bench.setup import WORKSPACE, Run, Setup
from db.session import transaction
from schemas.values.caller import Scope
from worker.operations.api_keys import create_key

GOAL_MIB = 150.0
GROWTH_MIB = 5.0
"""More than this over the second half is growth; less is the allocator's breathing."""
WITHDRAW = "UPDATE video SET is_draft = true WHERE NOT is_draft"
"""As an editor would in the platform: so the same videos can be published again."""
PER_REQUEST = 1_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """A pool process after a number of publishes, in MiB."""

    published: int
    rss: float
    pss: float
    others: dict[str, float] = field(default_factory=dict[str, float])
    """RSS of the other processes by kind, in MiB."""


@dataclass(frozen=True, kw_only=True)
class Memory:
    """One pool process, which does all of the work, sampled as it goes on."""

    samples: list[Sample]

    @property
    def growth(self) -> float:
        """MiB of RSS between half of the work and all of it."""
        return self.samples[-1].rss - self.samples[len(self.samples) // 2 - 1].rss

    @property
    def others_growth(self) -> dict[str, float]:
        """The same of each other process."""
        first, last = self.samples[len(self.samples) // 2 - 1].others, self.samples[-1].others
        return {kind: last[kind] - first[kind] for kind in last}


def measure(setup: Setup, progress: Progress, *, rounds: int, commands: int) -> Memory:
    """Publish the same videos in rounds, withdrawn in between by others."""
    with setup.run() as run, ExitStack() as stack:
        worker = stack.enter_context(ours.worker(run, concurrency=1))
        [beat] = (pid for pid in children(os.getpid()) if _is_beat(pid))
        api, port = stack.enter_context(ours.api(run))
        [child] = children(worker)
        pids = {"worker's main process": worker, "beat": beat, "API": api}
        key = create_key(run.engine, name="bench", scope=Scope.PUBLISH, workspace_id=WORKSPACE)
        requests = _to_requests(run.video_ids[:commands])
        job = Job(port=port, key=key, connections=1, requests=requests)
        samples: list[Sample] = []
        for done in range(commands, (rounds + 1) * commands, commands):
            _publish(run, job, done)
            others = {kind: resident(pid)["rss"] for kind, pid in pids.items()}
            samples.append(Sample(published=done, **resident(child), others=others))
            if len(samples) % max(1, rounds // 10) == 0:
                progress.end(f"memory: {done:,} publishes, {samples[-1].rss:.0f} MiB")
        if children(worker) != [child]:
            raise ours.Incorrect("the pool process was replaced on the way")
    return Memory(samples=samples)


def _publish(run: Run, job: Job, position: int) -> None:
    with transaction(run.engine) as tx:
        tx.execute(WITHDRAW)
    if (statuses := set(send(job).statuses)) != {202}:
        raise ours.Incorrect(f"after {position:,} publishes requests were answered with {statuses}")
    ours.wait_for_position(run, position)


def _to_requests(video_ids: list[int]) -> list[tuple[str, str]]:
    return [
        to_bulk(video_ids[at : at + PER_REQUEST]) for at in range(0, len(video_ids), PER_REQUEST)
    ]


def _is_beat(pid: int) -> bool:
    return b"\0beat" in Path(f"/proc/{pid}/cmdline").read_bytes()


def _goals(result: Memory) -> list[Row]:
    last = result.samples[-1]
    sizes = {"pool process": last.rss} | last.others
    growth = {"pool process": result.growth} | result.others_growth
    largest, growing = max(sizes, key=sizes.__getitem__), max(growth, key=growth.__getitem__)
    what = f"largest process after {last.published:,} publishes"
    return [
        at_most(what, sizes[largest], GOAL_MIB, " MiB", largest),
        at_most("… growth over the second half", growth[growing], GROWTH_MIB, " MiB", growing),
    ]


def _table(result: Memory) -> Table:
    """Every tenth of the samples."""
    kinds = tuple(result.samples[-1].others)
    step = max(1, len(result.samples) // 10)
    return Table(
        title="Memory",
        note="RSS in MiB of each kind of process; one pool process does all of the work.",
        head=("publishes", "pool process", *kinds),
        rows=[
            (f"{each.published:,}", figure(each.rss), *(figure(each.others[k]) for k in kinds))
            for each in result.samples[step - 1 :: step]
        ],
    )


def part(setup: Setup, work: Work) -> Report:
    """Measure as a part of `make bench`."""
    rounds, commands = work.choose(quick=(2, 500), whole=(4, 10_000), long=(100, 10_000))
    result = measure(setup, work.progress, rounds=rounds, commands=commands)
    numbers = asdict(result) | {"growth": result.growth}
    return Report(goals=_goals(result), tables=[_table(result)], numbers=numbers)
