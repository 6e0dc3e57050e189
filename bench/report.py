"""The table: each measurement in a row, with its spread and its goal."""

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

from rich.console import Console
from rich.table import Table

from bench import generation, outage
from bench.latency import GOAL_MS, Latency
from bench.memory import GOAL_MIB, GROWTH_MIB, Memory
from bench.punctuality import GOAL_IDLE_MS, GOAL_READ, GOAL_SPREAD_MS, Lateness, Scenario
from bench.throughput import GOAL, Throughput


@dataclass(frozen=True, kw_only=True)
class Row:
    """A line of the table."""

    what: str
    value: str
    spread: str
    goal: str
    met: bool


def throughput_rows(result: Throughput) -> list[Row]:
    """Ours, the peer's, and the ratio, which decides."""
    return [
        _rate(f"publishes a second, {result.commands:,} commands", result.ours),
        _rate(f"textbook Celery worker, {result.peer_commands:,} commands", result.peer),
        Row(
            what="ratio",
            value=f"{result.ratio:.1f}-fold",
            spread="",
            goal=f"≥ {GOAL:.0f}-fold",
            met=result.met,
        ),
    ]


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
    """The pool process at the end, and its growth."""
    last = result.samples[-1]
    return Row(
        what=f"worker process after {last.published:,} publishes",
        value=f"{last.rss:.0f} MiB",
        spread=f"PSS {last.pss:.0f}, second half {result.growth:+.1f} MiB",
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


def _rate(what: str, rates: Sequence[float]) -> Row:
    spread = f"{min(rates):,.0f} to {max(rates):,.0f} in {len(rates)} runs"
    return Row(what=what, value=f"{median(rates):,.0f} /s", spread=spread, goal="", met=True)
