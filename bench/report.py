"""The table: each measurement in a row, with its spread and its goal."""

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

from rich.console import Console
from rich.table import Table

from bench import generation, outage
from bench.contenders import LIMIT, OURS, TEXTBOOK
from bench.growth import GOAL_BACKLOG, GOAL_VIDEOS, Growth
from bench.latency import GOAL_MS, Latency
from bench.memory import GOAL_MIB, GROWTH_MIB, Memory
from bench.punctuality import GOAL_IDLE_MS, GOAL_READ, GOAL_SPREAD_MS, Lateness, Scenario
from bench.throughput import (
    GOAL_BEST,
    GOAL_CPU,
    GOAL_LIMIT,
    GOAL_TEXTBOOK,
    GOAL_WAL,
    Result,
    Throughput,
)


@dataclass(frozen=True, kw_only=True)
class Row:
    """A line of the table."""

    what: str
    value: str
    spread: str
    goal: str
    met: bool


def throughput_rows(result: Throughput) -> list[Row]:
    """Each contender's rate, the ratios, which decide, and what a publish of ours costs."""
    rows = [_rate(each) for each in result.results.values()]
    rows.append(_ratio(result, TEXTBOOK, "tuned textbook Celery", GOAL_TEXTBOOK))
    if result.best:
        title = f"the best of the others, {result.results[result.best].title}"
        rows.append(_ratio(result, result.best, title, GOAL_BEST))
    rows.append(_ratio(result, LIMIT, "our SQL without Python", GOAL_LIMIT))
    if mine := result.results.get(OURS):
        rows += [
            _cost(
                "CPU time per publish, all processes", mine.of_kind("cpu", "all"), GOAL_CPU, "µs"
            ),
            _cost("WAL per publish, without page images", mine.cost("wal_records"), GOAL_WAL, "B"),
        ]
    return [row for row in rows if row.value]


def growth_rows(result: Growth) -> list[Row]:
    """Two ratios."""
    most = f"{result.sizes[-1][0]:,}"
    return [
        _growth(f"rate with {most} videos, of that with few", result.by_videos, GOAL_VIDEOS),
        _growth("rate of the largest backlog, of the smallest", result.by_backlog, GOAL_BACKLOG),
    ]


def _growth(what: str, ratio: float, goal: float) -> Row:
    return Row(what=what, value=f"{ratio:.2f}", spread="", goal=f"≥ {goal:.2f}", met=ratio >= goal)


def _ratio(result: Throughput, other: str, title: str, goal: float) -> Row:
    ratio = result.ratio(other)
    return Row(
        what=f"beside {title}",
        value=f"{ratio:.2f}-fold" if ratio else "",
        spread="",
        goal=f"≥ {goal:g}-fold",
        met=bool(ratio and ratio >= goal),
    )


def _cost(what: str, value: float | None, goal: float, unit: str) -> Row:
    return Row(
        what=what,
        value=f"{value:,.0f} {unit}" if value is not None else "",
        spread="",
        goal=f"≤ {goal:,.0f} {unit}",
        met=value is not None and value <= goal,
    )


def latency_row(result: Latency) -> Row:
    """One door's latency."""
    return Row(
        what=f"{result.door}, to its event",
        value=f"{result.median:.1f} ms",
        spread=f"p95 {result.percentile(95):.1f}, p99 {result.percentile(99):.1f} ms",
        goal=f"≤ {GOAL_MS:.0f} ms",
        met=result.met,
    )


def memory_row(result: Memory) -> Row:
    """The pool process at the end, and its growth; then those of the others."""
    last = result.samples[-1]
    grown = result.others_growth
    others = "".join(f"; {kind} {last.others[kind]:.0f} ({grown[kind]:+.1f})" for kind in grown)
    return Row(
        what=f"worker process after {last.published:,} publishes",
        value=f"{last.rss:.0f} MiB",
        spread=f"PSS {last.pss:.0f}, second half {result.growth:+.1f} MiB{others}",
        goal=f"< {GOAL_MIB:.0f}, growth < {GROWTH_MIB:.0f} MiB",
        met=result.met,
    )


def punctuality_rows(scenario: Scenario) -> list[Row]:
    """Alone, among many, and what the claims read."""
    beside = f", {scenario.far:,} others far ahead" if scenario.far else ""
    commands = scenario.spread[0].commands
    return [
        Row(
            what=f"due one at a time{beside}, to its commit",
            value=f"{scenario.idle_median:.1f} ms",
            spread=_late(scenario.idle),
            goal=f"≤ {GOAL_IDLE_MS:.0f} ms",
            met=scenario.idle_median <= GOAL_IDLE_MS,
        ),
        Row(
            what=f"{commands:,} due at random{beside}, 99th percentile",
            value=f"{scenario.spread_p99:.1f} ms",
            spread=_late(scenario.spread),
            goal=f"≤ {GOAL_SPREAD_MS:.0f} ms",
            met=scenario.spread_p99 <= GOAL_SPREAD_MS,
        ),
        Row(
            what=f"rows that a claim reads and does not take{beside}",
            value=f"{scenario.excess}",
            spread=f"at most {max(each.pages for each in scenario.claims):,} pages",
            goal=f"≤ {GOAL_READ}",
            met=scenario.excess <= GOAL_READ,
        ),
    ]


def generation_row(result: generation.Generation) -> Row:
    """From the platform's commit to the event."""
    after = median(result.after)
    p95, p99 = result.percentile(95), result.percentile(99)
    return Row(
        what="generation's end, to the event",
        value=f"{result.median:.1f} ms",
        spread=f"p95 {p95:.1f}, p99 {p99:.1f}; from the commit's return {after:.1f} ms",
        goal=f"≤ {generation.GOAL_MS:.0f} ms",
        met=result.met,
    )


def outage_rows(result: outage.Outages) -> list[Row]:
    """What was overdue, and what fell due meanwhile."""
    seconds = [each.seconds for each in result.rounds]
    start = median(each.from_start for each in result.rounds)
    latest = [max(each.meanwhile) for each in result.rounds]
    count = sum(len(each.meanwhile) for each in result.rounds)
    return [
        Row(
            what=f"{result.rounds[0].overdue:,} overdue after an outage, until all are out",
            value=f"{result.seconds:.2f} s",
            spread=f"{min(seconds):.2f} to {max(seconds):.2f}; with the worker's start {start:.1f}",
            goal=f"≤ {outage.GOAL_SECONDS:.0f} s",
            met=result.seconds <= outage.GOAL_SECONDS,
        ),
        Row(
            what="due meanwhile, the latest one",
            value=f"{result.latest:.0f} ms",
            spread=f"{min(latest):.0f} to {max(latest):.0f}, {count} commands",
            goal=f"≤ {outage.GOAL_FRESH_MS:.0f} ms",
            met=result.latest <= outage.GOAL_FRESH_MS,
        ),
    ]


def _late(rounds: Sequence[Lateness]) -> str:
    middle = median(each.median for each in rounds)
    p95, p99 = (median(getattr(each, name) for each in rounds) for name in ("p95", "p99"))
    largest = max(each.largest for each in rounds)
    return f"p50 {middle:.1f}, p95 {p95:.1f}, p99 {p99:.1f}, max {largest:.0f} ms"


def show(console: Console, rows: Sequence[Row]) -> None:
    """Print the table."""
    table = Table(show_edge=False)
    for heading in ("measured", "median", "spread", "goal", ""):
        table.add_column(heading, justify="right" if heading == "median" else "left")
    for row in rows:
        verdict = "" if not row.goal else "[green]met[/]" if row.met else "[red]missed[/]"
        table.add_row(row.what, row.value, row.spread, row.goal, verdict)
    console.print(table)


def _rate(result: Result) -> Row:
    if result.failure:
        text = "not installed" if result.missing else "does not count"
        spread = "" if result.missing else result.failure.splitlines()[0][:90]
        return Row(what=result.title, value=text, spread=spread, goal="", met=True)
    rates = result.rates
    return Row(
        what=result.title if result.same_work else f"{result.title} (not the same work)",
        value=f"{result.rate:,.0f} /s",
        spread=f"{min(rates):,.0f} to {max(rates):,.0f}, {len(rates)} x {result.videos:,} videos",
        goal="",
        met=True,
    )
