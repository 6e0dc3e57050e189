"""Memory: how much each process uses after a number of publishes, and whether it grows.

    python -m bench.memory --publishes 1000000

Everything is enqueued over HTTP, a thousand commands a request, so that the API works too.
"""

import argparse
import json
import os
import sys
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

from bench import ours
from bench.http_load import Job, send
from bench.processes import children, resident
from bench.setup import WORKSPACE, Run, Setup, set_up
from db.session import transaction
from schemas.values.caller import Scope
from worker.operations.api_keys import create_key
from worker.runtime import logs
from worker.runtime.settings import LogFormat

GOAL_MIB = 150.0
GROWTH_MIB = 5.0
"""More than this over the second half is growth; less is the allocator's breathing."""
WITHDRAW = "UPDATE video SET is_draft = true WHERE NOT is_draft"
"""As an editor would in the platform: so the same videos can be published again."""
PER_REQUEST = 1_000
ROUND = 10_000
"""Videos, and publishes between two samples."""


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

    @property
    def met(self) -> bool:
        """Whether the goal is reached, by every process."""
        last = self.samples[-1]
        growth = [self.growth, *self.others_growth.values()]
        return max(last.rss, *last.others.values()) < GOAL_MIB and max(growth) < GROWTH_MIB


def measure(setup: Setup, *, rounds: int, commands: int) -> Memory:
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
        for number in range(1, rounds + 1):
            _publish(run, job, number * commands)
            others = {kind: resident(pid)["rss"] for kind, pid in pids.items()}
            sample = Sample(published=number * commands, **resident(child), others=others)
            samples.append(sample)
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
        _to_bulk(video_ids[at : at + PER_REQUEST]) for at in range(0, len(video_ids), PER_REQUEST)
    ]


def _to_bulk(video_ids: list[int]) -> tuple[str, str]:
    commands = [{"video_id": video_id} for video_id in video_ids]
    return "/api/v1/publish-commands", json.dumps({"commands": commands})


def _is_beat(pid: int) -> bool:
    return b"\0beat" in Path(f"/proc/{pid}/cmdline").read_bytes()


def main() -> int:
    """Measure, and show a line for each tenth; 0 when the goal is met."""
    parser = argparse.ArgumentParser(prog="python -m bench.memory", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("--publishes", type=int, default=1_000_000)
    asked = parser.parse_args()
    logs.configure(LogFormat.JSON, "WARNING")
    rounds = max(2, asked.publishes // ROUND)
    with set_up(videos=ROUND) as ready:
        result = measure(ready, rounds=rounds, commands=ROUND)
    step = max(1, rounds // 10)
    for sample in result.samples[step - 1 :: step]:
        others = ", ".join(f"{kind} {mib:.1f}" for kind, mib in sample.others.items())
        print(f"{sample.published:>10,} publishes: pool process {sample.rss:.1f} MiB, {others}")
    grown = ", ".join(f"{kind} {mib:+.1f}" for kind, mib in result.others_growth.items())
    print(f"growth in the second half: pool process {result.growth:+.1f} MiB, {grown}")
    return int(not result.met)


if __name__ == "__main__":
    sys.exit(main())
