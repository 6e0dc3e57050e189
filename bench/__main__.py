"""`make bench`: measure, print tables with the goals, and write them as Markdown, JSON and SVG.

    make bench                                  twenty minutes on two idle cores
    make bench-quick                            under three minutes, to see that every part runs
    make bench ARGS=--long                      an hour and a half or more: the largest sizes
    make bench ARGS="--only throughput --runs 5"
    make bench ARGS="--only throughput --contender pgqueuer --contender this-project"

build/ gets bench.json, benchmarks.md and the charts. `--write docs/benchmarks.md` replaces what is
between the two markers of that page, and writes the charts beside it, into a folder with its name.

The exit code is 2 when a part or a contender failed, else 1 when a goal was missed, else 0. A quick
run is too short for a verdict about goals. After a failed part the others still run.
"""

import argparse
import json
import os
import sys
import traceback
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rich.console import Console

from bench import page
from bench.conditions import read_conditions
from bench.contenders import CONTENDERS
from bench.part import Size, Work
from bench.plan import PARTS
from bench.progress import Progress
from bench.report import Report, Row, Table, goals_table, show_table
from bench.setup import Setup, set_up
from bench.throughput import QUICK
from worker.runtime import logs
from worker.runtime.settings import LogFormat

OUTPUT = Path("build")
FILE_WIDTH = 140
"""Columns of the tables where the output is not a terminal."""
VIDEOS = {Size.QUICK: 3_000, Size.WHOLE: 20_300, Size.LONG: 20_300}


@dataclass(kw_only=True)
class Results:
    """What the parts reported, and what failed."""

    conditions: Table
    numbers: dict[str, Any]
    reports: dict[str, Report] = field(default_factory=dict[str, Report])
    failures: list[str] = field(default_factory=list[str])


def main() -> int:
    """Run the chosen parts; return the exit code."""
    asked = _arguments()
    logs.configure(LogFormat.JSON, "WARNING")
    console, load = Console(), os.getloadavg()[0]
    if not console.is_terminal:
        console = Console(width=FILE_WIDTH)
    size = Size.QUICK if asked.quick else Size.LONG if asked.long else Size.WHOLE
    work = Work(
        size=size,
        runs=asked.runs or (1 if asked.quick else 3),
        contenders=tuple(asked.contender or (QUICK if asked.quick else CONTENDERS)),
        progress=Progress(console),
    )
    names = asked.only or [name for name, part in PARTS.items() if part.seconds(size)]
    work.progress.plan({name: PARTS[name].seconds(size) for name in names})
    work.progress.begin("engines and sample data")
    with set_up(videos=VIDEOS[size]) as ready:
        conditions = read_conditions(ready, size, load)
        results = Results(conditions=conditions.to_table(), numbers=conditions.to_json())
        for name in names:
            run_part(name, ready, work, results)
    _show(console, results, with_tables=bool(asked.only))
    _write(asked.output, asked.write, results)
    console.print(f"all tables: {asked.write or asked.output / 'benchmarks.md'}", style="dim")
    console.print(f"numbers: {asked.output / 'bench.json'}", style="dim")
    return exit_code(results, size)


def exit_code(results: Results, size: Size) -> int:
    """Return 2 after a failure, 1 for a goal that was missed; a quick run decides nothing."""
    if results.failures:
        return 2
    return int(size != Size.QUICK and not all(row.met for row in _goals(results)))


def run_part(name: str, ready: Setup, work: Work, results: Results) -> None:
    """Run one part; a failure is reported, and the next part runs."""
    work.progress.begin_part(name)
    try:
        report = PARTS[name].run(ready, work)
    except Exception as error:  # noqa: BLE001 - the last line of defence of the loop over the parts
        traceback.print_exception(error)
        reason = f"{type(error).__name__}: {error}".splitlines()[0]
        work.progress.end(f"[red]{name} failed[/]")
        results.failures.append(f"{name}: {reason}")
        return
    results.reports[name] = report
    results.numbers[name] = report.numbers
    results.failures += [f"{name}: {failure}" for failure in report.failures]


def _goals(results: Results) -> list[Row]:
    return [row for report in results.reports.values() for row in report.goals]


def _show(console: Console, results: Results, *, with_tables: bool) -> None:
    """Print the goals; the other tables are many, and are written to a page."""
    console.print()
    for report in results.reports.values():
        for table in report.tables if with_tables else ():
            show_table(console, table)
    show_table(console, goals_table(_goals(results)))
    for failure in results.failures:
        console.print(f"failed: {failure}", style="red", markup=False)


def _write(output: Path, written: Path | None, results: Results) -> None:
    output.mkdir(parents=True, exist_ok=True)
    (output / "bench.json").write_text(json.dumps(results.numbers, indent=2) + "\n")
    reports = list(results.reports.values())
    tables = [goals_table(_goals(results)), *(t for report in reports for t in report.tables)]
    charts = {name: chart for report in reports for name, chart in report.charts.items()}
    text = page.to_section(tables, results.conditions, charts, results.failures, "benchmarks")
    (output / "benchmarks.md").write_text(text)
    page.write_charts(output / "benchmarks", charts)
    if written:
        text = page.to_section(tables, results.conditions, charts, results.failures, written.stem)
        written.write_text(page.replace_section(written.read_text(), text))
        page.write_charts(written.with_suffix(""), charts)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.epilog = "parts:\n" + "\n".join(
        f"  {name:<12} {part.title}" for name, part in PARTS.items()
    )
    size = parser.add_mutually_exclusive_group()
    size.add_argument("--quick", action="store_true", help="under three minutes, no verdict")
    size.add_argument("--long", action="store_true", help="the largest sizes as well")
    parser.add_argument(
        "--only", action="append", choices=PARTS, help="one part; may be repeated", metavar="PART"
    )
    parser.add_argument(
        "--runs", type=int, help="runs of throughput and door (default: 3; quick: 1)"
    )
    parser.add_argument(
        "--contender",
        action="append",
        choices=CONTENDERS,
        help="one contender of the throughput; may be repeated (default: all; quick: a few)",
    )
    parser.add_argument(
        "--output", type=Path, default=OUTPUT, help=f"folder for the results (default: {OUTPUT})"
    )
    parser.add_argument("--write", type=Path, metavar="PAGE", help="a page with the two markers")
    asked = parser.parse_args()
    if asked.write:
        if asked.only:
            parser.error("--write replaces all figures of the page: leave out --only")
        try:  # before anything is measured
            page.replace_section(asked.write.read_text(), "")
        except (OSError, ValueError) as error:
            parser.error(str(error))
    return asked


if __name__ == "__main__":
    sys.exit(main())
