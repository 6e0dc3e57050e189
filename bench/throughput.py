"""Throughput: from the first enqueue to the last event on the stream, engines included.

All contenders publish videos of the same data set, one after another: other work on the machine
affects all of them.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from statistics import median
from typing import Any

from bench import contest, limit
from bench.contenders import CONTENDERS, LIMIT, OURS, TEXTBOOK, Contender
from bench.contest import Outcome
from bench.progress import Progress
from bench.report import Row, at_least, at_most, ratios, spread
from bench.setup import Setup

GOAL_TEXTBOOK = 30.0
GOAL_BEST = 15.0
GOAL_LIMIT = 0.7
GOAL_CPU = 130.0
"""Microseconds per publish, in all processes and engines."""
GOAL_WAL = 3_584.0
"""Bytes per publish, without full-page images."""
QUICK = (LIMIT, OURS, TEXTBOOK)
"""The contenders of a quick run."""
MISSING = "not installed"


@dataclass(frozen=True, kw_only=True)
class Result:
    """All runs of one contender."""

    contender: str
    title: str
    same_work: bool
    videos: int
    runs: list[Outcome]
    missing: bool = False

    @property
    def failure(self) -> str:
        """Why its figures do not count: one wrong run is enough. Empty: they count."""
        if self.missing:
            return MISSING
        return next((run.failure for run in self.runs if run.failure), "")

    @property
    def rates(self) -> list[float]:
        """Publishes a second, run by run; none if they do not count."""
        return [] if self.failure else [run.rate for run in self.runs]

    @property
    def rate(self) -> float | None:
        """The median. None: its figures do not count."""
        return median(self.rates) if self.rates else None

    def cost(self, name: str) -> float | None:
        """The median over the runs of a cost of `Outcome`."""
        values = [getattr(run, name) for run in self.runs if not run.failure]
        return median(values) if values and None not in values else None

    def values(self, name: str) -> list[float]:
        """A cost run by run; of CPU time the sum over all processes."""
        values = [getattr(run, name) for run in self.runs if not run.failure]
        return [each["all"] if isinstance(each, dict) else each for each in values if each]

    def of_kind(self, name: str, kind: str) -> float | None:
        """The median over the runs of a cost by kind of process: `cpu`, `peak_mib`."""
        values = [getattr(run, name).get(kind) for run in self.runs if not run.failure]
        return median(values) if values and None not in values else None


@dataclass(frozen=True, kw_only=True)
class Throughput:
    """The results of all contenders."""

    results: dict[str, Result]

    def ratio(self, other: str) -> float | None:
        """Our median over another's. None: one of them has no figure."""
        mine, theirs = self._rate(OURS), self._rate(other)
        return mine / theirs if mine and theirs else None

    @property
    def best(self) -> str | None:
        """The fastest of the others with a figure."""
        rivals = {
            name: result.rate
            for name, result in self.results.items()
            if CONTENDERS[name].rival and result.rate
        }
        return max(rivals, key=lambda name: rivals[name]) if rivals else None

    def _rate(self, name: str) -> float | None:
        return self.results[name].rate if name in self.results else None

    def ratios(self, other: str) -> str:
        """The spread of that ratio, over the runs."""
        if other not in self.results or OURS not in self.results:
            return ""
        mine, theirs = self.results[OURS].rates, self.results[other].rates
        return ratios(mine, theirs) if mine and theirs else ""

    @property
    def failures(self) -> list[str]:
        """Each contender whose figures do not count, with the reason."""
        return [
            f"{result.title}: {result.failure.splitlines()[0]}"
            for result in self.results.values()
            if result.failure and not result.missing
        ]

    def to_json(self) -> dict[str, Any]:
        """Everything, for the file of numbers."""
        others = [TEXTBOOK, LIMIT, *([self.best] if self.best else [])]
        return {
            "ratios": {other: self.ratio(other) for other in others},
            "results": {
                name: asdict(result)
                | {"rate": result.rate, "rates": result.rates, "failure": result.failure}
                for name, result in self.results.items()
            },
        }


def measure(
    setup: Setup,
    progress: Progress,
    *,
    runs: int,
    videos: int,
    names: Sequence[str] = tuple(CONTENDERS),
) -> Throughput:
    """Measure these contenders in turn, this number of times."""
    chosen = {name: CONTENDERS[name] for name in names}
    outcomes: dict[str, list[Outcome]] = {name: [] for name in names}
    for number in range(1, runs + 1):
        for name, contender in chosen.items():
            if contender.once and number > 1:
                continue
            what = f"throughput: {contender.title_with_version()}, run {number} of {runs}"
            if not contender.is_installed():
                progress.begin(f"{what}: {MISSING}")
                continue
            progress.begin(what)
            outcome = _carry_out(setup, contender, videos)
            outcomes[name].append(outcome)
            progress.end(describe(outcome))
    return Throughput(results=_collect(chosen, outcomes, videos))


def _carry_out(setup: Setup, contender: Contender, videos: int) -> Outcome:
    count = int(videos * contender.share)
    if contender.name == LIMIT:
        return limit.carry_out(setup, count)
    return contest.carry_out(setup, contender, count)


def _collect(
    chosen: Mapping[str, Contender], outcomes: Mapping[str, list[Outcome]], videos: int
) -> dict[str, Result]:
    return {
        name: Result(
            contender=name,
            title=contender.title_with_version(),
            same_work=contender.same_work,
            videos=int(videos * contender.share),
            runs=outcomes[name],
            missing=not contender.is_installed(),
        )
        for name, contender in chosen.items()
    }


def describe(outcome: Outcome) -> str:
    """One line for the terminal."""
    if outcome.failure:
        return f"does not count: {outcome.failure.splitlines()[0]}"
    return (
        f"{outcome.rate:,.0f}/s, {outcome.cpu['all']:,.0f} µs of CPU, {outcome.wal:,.0f} B of WAL"
    )


def goals(result: Throughput) -> list[Row]:
    """The ratios, and what a publish of ours costs. Without contenders, no goals."""
    rows: list[Row] = []
    for other, title, goal in (
        (TEXTBOOK, "publishes a second, beside tuned Celery", GOAL_TEXTBOOK),
        (result.best, "… beside the best of the others", GOAL_BEST),
        (LIMIT, "… beside our SQL without Python", GOAL_LIMIT),
    ):
        if other and other in result.results:
            name = f", {result.results[other].title}" if other == result.best else ""
            value, runs = result.ratio(other), result.ratios(other)
            rows.append(at_least(title + name, value, goal, "-fold", runs))
    if mine := result.results.get(OURS):
        cpu, wal = mine.values("cpu"), mine.values("wal_records")
        rows += [
            at_most("CPU per publish", mine.of_kind("cpu", "all"), GOAL_CPU, " µs", spread(cpu)),
            at_most(
                "WAL per publish, without page images",
                mine.cost("wal_records"),
                GOAL_WAL,
                " B",
                spread(wal),
            ),
        ]
    return rows
