"""Memory: how much one worker process uses after a number of publishes, and whether it grows."""

from dataclasses import dataclass

from bench import ours
from bench.processes import children, resident
from bench.setup import Run, Setup
from db.session import transaction

GOAL_MIB = 150.0
GROWTH_MIB = 5.0
"""More than this over the second half is growth; less is the allocator's breathing."""
WITHDRAW = "UPDATE video SET is_draft = true WHERE NOT is_draft"
"""As an editor would in the platform: so the same videos can be published again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """A pool process after a number of publishes, in MiB."""

    published: int
    rss: float
    pss: float


@dataclass(frozen=True, kw_only=True)
class Memory:
    """One pool process, which does all of the work, sampled as it goes on."""

    samples: list[Sample]

    @property
    def growth(self) -> float:
        """MiB of RSS between half of the work and all of it."""
        return self.samples[-1].rss - self.samples[len(self.samples) // 2 - 1].rss

    @property
    def met(self) -> bool:
        """Whether the goal is reached."""
        return self.samples[-1].rss < GOAL_MIB and self.growth < GROWTH_MIB


def measure(setup: Setup, *, rounds: int, commands: int) -> Memory:
    """Publish the same videos in rounds, withdrawn in between by others."""
    with setup.run() as run, ours.worker(run, concurrency=1) as pid:
        [child] = children(pid)
        samples = [_round(run, child, number, commands) for number in range(1, rounds + 1)]
        if children(pid) != [child]:
            raise ours.Incorrect("the pool process was replaced on the way")
    return Memory(samples=samples)


def _round(run: Run, child: int, number: int, commands: int) -> Sample:
    with transaction(run.engine) as tx:
        tx.execute(WITHDRAW)
    ours.enqueue_all(run.engine, ours.make_waker(run), run.video_ids[:commands])
    ours.wait_for_position(run, number * commands)
    return Sample(published=number * commands, **resident(child))
