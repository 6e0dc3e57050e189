"""Growth: how fast a backlog drains, by its size and by the number of videos.

A backlog is enqueued while no worker runs; then worker and beat start. The rate is taken between
the first event on the stream and the last, so the start of the processes does not count.
"""

import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from statistics import mean, median

from bench import costs, ours
from bench.charts import Bar, Chart
from bench.costs import Tree
from bench.many_videos import make_videos
from bench.part import Work
from bench.processes import wait_for
from bench.progress import Progress
from bench.report import Report, Row, Table, at_least
from bench.setup import Run, Setup, vacuum
from publish_worker_client.events.stream_entries import STREAM

GOAL_BACKLOG = 0.95
GOAL_VIDEOS = 0.9
REFERENCE = 10_000
"""The backlog that others are compared to: a smaller one ends before its rate is steady."""
SECONDS_PER_COMMAND = 0.005
"""A drain that takes longer than this for each command has failed."""


@dataclass(frozen=True, kw_only=True)
class Drain:
    """One backlog."""

    videos: int
    """In the database."""
    commands: int
    """In the backlog, spread evenly over the videos."""
    rate: float
    """Publishes a second."""
    enqueue_rate: float
    """Commands a second that one producer enqueued, 500 in a call."""
    cpu: float
    """Microseconds per publish in worker, beat and engines."""


@dataclass(frozen=True, kw_only=True)
class Growth:
    """Drains of several backlogs."""

    drains: list[Drain]

    def rate(self, *, videos: int, commands: int) -> float:
        """The median rate of the drains of this size."""
        return median(
            each.rate for each in self.drains if (each.videos, each.commands) == (videos, commands)
        )

    @property
    def sizes(self) -> list[tuple[int, int]]:
        """Each pair of videos and commands, in order."""
        return sorted({(each.videos, each.commands) for each in self.drains})

    @property
    def first(self) -> tuple[int, int]:
        """What others are compared to: the fewest videos, with the one backlog they had."""
        return self.sizes[0]

    @property
    def by_videos(self) -> float:
        """The rate with the most videos over the rate with the fewest, for the same backlog."""
        fewest, commands = self.first
        most = self.sizes[-1][0]
        return self.rate(videos=most, commands=commands) / self.rate(
            videos=fewest, commands=commands
        )

    @property
    def by_backlog(self) -> float:
        """The rate of the largest backlog over that of the first, with the same videos."""
        most = self.sizes[-1][0]
        return self.rate(videos=most, commands=self.backlogs[-1]) / self.rate(
            videos=most, commands=self.first[1]
        )

    @property
    def backlogs(self) -> list[int]:
        """The sizes of the backlogs with the most videos, in order."""
        most = self.sizes[-1][0]
        return [commands for videos, commands in self.sizes if videos == most]


def measure(
    setup: Setup, progress: Progress, *, runs: int, videos: int, backlogs: Sequence[int]
) -> Growth:
    """Drain the reference backlog with few videos, then each one with `videos`.

    `backlogs`: in ascending order; all of them together need no more than `videos`. Only as many
    videos as are published have sections.
    """
    drains: list[Drain] = []
    reference = next((each for each in backlogs if each >= REFERENCE), backlogs[0])
    for number in range(1, runs + 1):
        with setup.run() as run:
            few = len(run.video_ids)
            progress.begin(f"growth: {reference:,} of {few:,} videos, run {number} of {runs}")
            drains.append(_drain(setup, run, _spread(run.video_ids, reference), few))
            progress.end(_describe(drains[-1]))
    with setup.run() as run:
        progress.begin(f"growth: {videos:,} videos are made")
        published = sum(backlogs) + (runs - 1) * reference
        ids = make_videos(run.engine, run.video_ids, videos, each=videos // published)
        for number in range(1, runs + 1):
            wanted = backlogs if number == 1 else [reference]
            for backlog in wanted:
                progress.begin(f"growth: {backlog:,} of {videos:,} videos, run {number} of {runs}")
                chosen = _spread(ids, backlog)
                drains.append(_drain(setup, run, chosen, videos))
                progress.end(_describe(drains[-1]))
                ids = sorted(set(ids).difference(chosen))
    return Growth(drains=drains)


def _spread(video_ids: Sequence[int], count: int) -> Sequence[int]:
    return video_ids[:: len(video_ids) // count][:count]


def _drain(setup: Setup, run: Run, video_ids: Sequence[int], videos: int) -> Drain:
    backlog = len(video_ids)
    started = time.perf_counter()
    ours.enqueue_all(run.engine, ours.make_waker(run), video_ids)
    enqueue_rate = backlog / (time.perf_counter() - started)
    vacuum(run.engine, checkpoint=True)  # in production both happen while a backlog grows
    seen = _added(run)
    with ours.worker(run) as pid:
        trees = [Tree(kind="worker", pid=pid), *costs.engine_trees(setup.home / "data")]
        first, started, cpu = _first_events(run, seen, trees)
        wait_for(
            lambda: _added(run) >= seen + backlog,
            f"{backlog:,} events",
            60 + backlog * SECONDS_PER_COMMAND,
        )
        seconds = time.perf_counter() - started
        cpu = sum(costs.measure_cpu(trees).values()) - cpu
    run.redis.xtrim(STREAM, maxlen=1, approximate=False)  # a million events need gigabytes
    n = seen + backlog - first
    return Drain(
        videos=videos,
        commands=backlog,
        rate=n / seconds,
        enqueue_rate=enqueue_rate,
        cpu=1e6 * cpu / n,
    )


def _first_events(run: Run, seen: int, trees: Sequence[Tree]) -> tuple[int, float, float]:
    """Wait for the first events; return how many there are, the time, and the CPU seconds."""
    wait_for(lambda: _added(run) > seen, "the first event")
    added, now = _added(run), time.perf_counter()
    return added, now, sum(costs.measure_cpu(trees).values())


def _added(run: Run) -> int:
    """Count the events that were ever appended."""
    return int(run.redis.xinfo_stream(STREAM)["entries-added"]) if run.redis.exists(STREAM) else 0


def _describe(drain: Drain) -> str:
    return f"{drain.rate:,.0f}/s, {drain.cpu:,.0f} µs of CPU; enqueued {drain.enqueue_rate:,.0f}/s"


def _goals(measured: Growth) -> list[Row]:
    (few, small), many, large = measured.first, measured.sizes[-1][0], measured.backlogs[-1]
    return [
        at_least(f"rate with {many:,} videos, over {few:,}", measured.by_videos, GOAL_VIDEOS),
        at_least(f"rate of {large:,} waiting, over {small:,}", measured.by_backlog, GOAL_BACKLOG),
    ]


def growth_table(measured: Growth) -> Table:
    """The drain rate by backlog and by videos."""
    return Table(
        title="Growth",
        note="How fast a backlog drains. CPU is in µs per publish, of worker, beat and engines.",
        head=(
            *("videos", "backlog", "publishes a second", "ratio to the first", "CPU"),
            "enqueued a second",
        ),
        rows=[_row(measured, *size) for size in measured.sizes],
    )


def _row(measured: Growth, videos: int, commands: int) -> Sequence[str]:
    rate = measured.rate(videos=videos, commands=commands)
    first = measured.rate(videos=measured.first[0], commands=measured.first[1])
    drains = [
        each for each in measured.drains if (each.videos, each.commands) == (videos, commands)
    ]
    return (
        f"{videos:,}",
        f"{commands:,}",
        f"{rate:,.0f}",
        f"{rate / first:.2f}",
        f"{mean(each.cpu for each in drains):,.0f}",
        f"{mean(each.enqueue_rate for each in drains):,.0f}",
    )


def growth_chart(measured: Growth) -> Chart:
    """The drain rates."""
    rates = {size: measured.rate(videos=size[0], commands=size[1]) for size in measured.sizes}
    return Chart(
        title="How fast a backlog drains",
        units="By the size of the backlog and the number of videos. Longer is better.",
        axis="publishes a second",
        bars=[
            Bar(
                label=f"{commands:,} commands",
                note=f"{videos:,} videos",
                parts=[rate],
                figure=f"{rate:,.0f}",
            )
            for (videos, commands), rate in rates.items()
        ],
    )


def part(setup: Setup, work: Work) -> Report:
    """Measure as a part of `make bench`."""
    result = measure(
        setup,
        work.progress,
        runs=work.choose(quick=1, whole=1, long=2),
        videos=work.choose(quick=8_000, whole=800_000, long=10_000_000),
        backlogs=work.choose(
            quick=(500,),
            whole=(1_000, 10_000, 300_000),
            long=(1_000, 10_000, 100_000, 300_000, 1_000_000),
        ),
    )
    ratios = {"by_videos": result.by_videos, "by_backlog": result.by_backlog}
    return Report(
        goals=_goals(result),
        tables=[growth_table(result)],
        charts={"growth": growth_chart(result)},
        numbers=asdict(result) | ratios,
    )
