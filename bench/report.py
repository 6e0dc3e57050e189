"""The table: each measurement in a row, with its spread and its goal."""

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

from rich.console import Console
from rich.table import Table

from bench.latency import GOAL_MS, Latency
from bench.memory import GOAL_MIB, GROWTH_MIB, Memory
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
    """Ours, the peer's, and the ratio, which is what counts."""
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
