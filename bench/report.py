"""What a part of the benchmark reports: goals, tables and charts, for a terminal and for a page."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from statistics import median
from typing import Any

from rich.console import Console
from rich.table import Table as Grid

from bench.charts import Chart

HEADINGS = ("measured", "median", "spread", "goal", "reached")


@dataclass(frozen=True, kw_only=True)
class Row:
    """A figure with its goal: a line of the first table."""

    what: str
    value: str
    spread: str
    goal: str
    """Empty: no goal."""
    met: bool


@dataclass(frozen=True, kw_only=True)
class Table:
    """A table of a part. The first column names the row, the others hold short figures."""

    title: str
    head: Sequence[str]
    rows: Sequence[Sequence[str]]
    note: str = ""
    """A sentence under the title."""


@dataclass(frozen=True, kw_only=True)
class Report:
    """The results of one part."""

    goals: Sequence[Row] = ()
    tables: Sequence[Table] = ()
    charts: dict[str, Chart] = field(default_factory=dict[str, Chart])
    """By the name of the file."""
    numbers: Any = None
    """Everything measured, for the file of numbers."""
    failures: Sequence[str] = ()
    """Figures that do not count, with the reason."""


def goals_table(rows: Sequence[Row]) -> Table:
    """All goals, with what was measured."""
    return Table(
        title="Goals",
        head=HEADINGS,
        rows=[(row.what, row.value, row.spread, row.goal, _verdict(row)) for row in rows],
    )


def _verdict(row: Row) -> str:
    return "" if not row.goal else "yes" if row.met else "**no**"


def show(console: Console, rows: Sequence[Row]) -> None:
    """Print figures with their goals."""
    show_table(console, goals_table(rows))


def show_table(console: Console, table: Table) -> None:
    """Print a table."""
    grid = Grid(title=table.title, title_justify="left", show_edge=False, caption=table.note)
    for n, heading in enumerate(table.head):
        grid.add_column(heading, justify="right" if n == 1 else "left")
    for row in table.rows:
        grid.add_row(*(cell.replace("**", "") for cell in row))
    console.print(grid, highlight=False)
    console.print()


def to_markdown(table: Table) -> str:
    """Write a table with its title."""
    right = table.head != HEADINGS
    lines = [
        f"### {table.title}",
        "",
        *([table.note, ""] if table.note else []),
        f"| {' | '.join(table.head)} |",
        f"|---{('|---:' if right else '|---') * (len(table.head) - 1)}|",
        *(f"| {' | '.join(cell.replace('|', '/') for cell in row)} |" for row in table.rows),
    ]
    return "\n".join(lines) + "\n"


def at_least(what: str, value: float | None, goal: float, unit: str = "", spread: str = "") -> Row:
    """Return a goal that is reached from `goal` upwards. None: it was not measured."""
    met = value is not None and value >= goal
    shown = "no figure" if value is None else f"{figure(value)}{unit}"
    return Row(what=what, value=shown, spread=spread, goal=f"≥ {goal:g}{unit}", met=met)


def at_most(what: str, value: float | None, goal: float, unit: str = "", spread: str = "") -> Row:
    """Return a goal that is reached up to `goal`. None: it was not measured."""
    met = value is not None and value <= goal
    shown = "no figure" if value is None else f"{figure(value)}{unit}"
    return Row(what=what, value=shown, spread=spread, goal=f"≤ {goal:,g}{unit}", met=met)


def figure(value: float) -> str:
    """Write a figure with about three digits."""
    return f"{value:,.{0 if abs(value) >= 100 else 1 if abs(value) >= 10 else 2}f}"


def spread(values: Sequence[float]) -> str:
    """Return the lowest and the highest of several runs."""
    if len(values) < 2:
        return "1 run"
    return f"{figure(min(values))} to {figure(max(values))}, {len(values)} runs"


def ratios(over: Sequence[float], under: Sequence[float]) -> str:
    """Return the spread of the ratios of pairs of runs that were made in turn."""
    return spread([a / b for a, b in zip(over, under, strict=False)])


def middle(measured: Sequence[Any], name: str) -> float:
    """Return the median of an attribute over several runs."""
    return median(getattr(each, name) for each in measured)
