"""`make bench`: measure, print a table with the goals, and write the numbers as JSON.

    make bench                                  all of it: about twenty minutes on two cores
    make bench-quick                            two minutes, to see that every part runs
    make bench ARGS="--only throughput --runs 5"
    make bench ARGS="--only throughput --contender pgqueuer --contender this-project"

Tables for docs/benchmarks.md are written beside the numbers; charts, with --charts, into a folder.
Exits with 1 when a goal is missed; with --quick, which is too short for that, always with 0.
"""

import argparse
import json
import os
import platform
import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from rich.console import Console

from bench import (
    door,
    generation,
    growth,
    latency,
    lateness,
    memory,
    notify,
    open_loop,
    outage,
    punctuality,
    queueing,
    tables,
    throughput,
)
from bench.contenders import CONTENDERS
from bench.progress import Progress
from bench.report import (
    Row,
    generation_row,
    growth_rows,
    latency_row,
    memory_row,
    outage_rows,
    punctuality_rows,
    show,
    throughput_rows,
)
from bench.setup import Setup, set_up
from db.session import transaction
from worker.runtime import logs
from worker.runtime.settings import LogFormat

OUTPUT = Path("build/bench.json")
TABLES = "benchmarks-tables.md"
SETTINGS = "fsync, synchronous_commit and AOF (everysec) on, two worker processes each"
CHARTS = Path("docs/benchmarks")


@dataclass(frozen=True, kw_only=True)
class Work:
    """What a part is asked for, and where it shows its progress and leaves its tables."""

    runs: int
    quick: bool
    contenders: tuple[str, ...]
    charts: Path | None
    progress: Progress
    tables: list[str] = field(default_factory=list[str])


Part = Callable[[Setup, Work], tuple[list[Row], Any]]


def main() -> int:
    """Run the chosen measurements; return 0 when every goal is met, else 1."""
    asked = _arguments()
    logs.configure(LogFormat.JSON, "WARNING")
    console = Console()
    work = Work(
        runs=asked.runs or (1 if asked.quick else 3),
        quick=asked.quick,
        contenders=tuple(asked.contender or (throughput.QUICK if asked.quick else CONTENDERS)),
        charts=asked.charts,
        progress=Progress(console),
    )
    rows: list[Row] = []
    numbers: dict[str, Any] = {}
    work.progress.begin("engines and sample data")
    with set_up(videos=4_300 if asked.quick else 20_300) as ready:
        conditions = _read_conditions(ready)
        for name in [asked.only] if asked.only else PARTS:
            work.progress.begin(name)
            part_rows, numbers[name] = PARTS[name](ready, work)
            rows += part_rows
    show(console, rows)
    _write_numbers(asked.output, conditions | numbers)
    _write_tables(asked.output.with_name(TABLES), [_describe(conditions), *work.tables])
    console.print(f"numbers: {asked.output}", style="dim")
    return int(not asked.quick and not all(row.met for row in rows))


def _throughput(ready: Setup, work: Work) -> tuple[list[Row], Any]:
    result = throughput.measure(
        ready,
        work.progress,
        runs=work.runs,
        videos=4_000 if work.quick else 20_000,
        names=work.contenders,
    )
    work.tables.append(tables.throughput_tables(result))
    if work.charts:
        tables.throughput_charts(result, work.charts)
    return throughput_rows(result), result.to_json()


def _growth(ready: Setup, work: Work) -> tuple[list[Row], Any]:
    backlogs = (1_000, 5_000) if work.quick else (10_000, 100_000, 300_000)
    result = growth.measure(
        ready,
        work.progress,
        runs=1 if work.quick else 2,
        videos=10_000 if work.quick else 800_000,
        backlogs=backlogs,
    )
    work.tables.append(tables.growth_table(result))
    if work.charts:
        tables.growth_chart(result, work.charts)
    ratios = {"by_videos": result.by_videos, "by_backlog": result.by_backlog}
    return growth_rows(result), asdict(result) | ratios


def _latency(ready: Setup, work: Work) -> tuple[list[Row], Any]:
    results = latency.measure(ready, requests=30 if work.quick else 200)
    return [latency_row(result) for result in results], [asdict(result) for result in results]


def _memory(ready: Setup, work: Work) -> tuple[list[Row], Any]:
    rounds, commands = (4, 1_000) if work.quick else (10, 10_000)
    result = memory.measure(ready, rounds=rounds, commands=commands)
    return [memory_row(result)], asdict(result) | {"growth": result.growth}


def _punctuality(ready: Setup, work: Work) -> tuple[list[Row], Any]:
    if work.quick:
        scenarios = punctuality.measure(
            ready, runs=1, commands=500, seconds=4, alone=10, far=20_000
        )
    else:
        scenarios = punctuality.measure(
            ready, runs=1, commands=10_000, seconds=60, alone=100, far=1_000_000
        )
    return [row for scenario in scenarios for row in punctuality_rows(scenario)], [
        asdict(scenario) for scenario in scenarios
    ]


def _generation(ready: Setup, work: Work) -> tuple[list[Row], Any]:
    result = generation.measure(ready, videos=20 if work.quick else 100)
    return [generation_row(result)], asdict(result)


def _outage(ready: Setup, work: Work) -> tuple[list[Row], Any]:
    result = outage.measure(ready, runs=work.runs, overdue=1_000 if work.quick else 5_000)
    return outage_rows(result), asdict(result)


def _door(ready: Setup, work: Work) -> tuple[list[Row], Any]:
    return door.part(ready, work.runs, work.quick)


def _open_loop(ready: Setup, work: Work) -> tuple[list[Row], Any]:
    return open_loop.part(ready, work.runs, work.quick)


def _lateness(ready: Setup, work: Work) -> tuple[list[Row], Any]:
    return lateness.part(ready, work.runs, work.quick)


def _notify(ready: Setup, work: Work) -> tuple[list[Row], Any]:
    return notify.part(ready, work.runs, work.quick)


def _queueing(ready: Setup, work: Work) -> tuple[list[Row], Any]:
    return queueing.part(ready, work.runs, work.quick)


PARTS: dict[str, Part] = {
    "throughput": _throughput,
    "door": _door,
    "open-loop": _open_loop,
    "lateness": _lateness,
    "notify": _notify,
    "queueing": _queueing,
    "growth": _growth,
    "latency": _latency,
    "memory": _memory,
    "punctuality": _punctuality,
    "generation": _generation,
    "outage": _outage,
}


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("--quick", action="store_true", help="two minutes, no verdict")
    parser.add_argument("--only", choices=PARTS, help="run one measurement")
    parser.add_argument("--runs", type=int, help="runs of each measurement (default: 3; quick: 1)")
    parser.add_argument(
        "--contender",
        action="append",
        choices=CONTENDERS,
        help="one contender of the throughput; may be repeated (default: all; quick: a few)",
    )
    parser.add_argument(
        "--charts", type=Path, help=f"folder for the charts; `make bench` has {CHARTS}"
    )
    parser.add_argument(
        "--output", type=Path, default=OUTPUT, help=f"file for the numbers (default: {OUTPUT})"
    )
    return parser.parse_args()


def _write_tables(output: Path, parts: list[str]) -> None:
    output.parent.mkdir(parents=True, exist_ok=True)
    output.write_text("\n".join(parts))


def _write_numbers(output: Path, numbers: dict[str, Any]) -> None:
    output.parent.mkdir(parents=True, exist_ok=True)
    output.write_text(json.dumps(numbers, indent=2) + "\n")


def _read_conditions(ready: Setup) -> dict[str, Any]:
    """When, where and with what it is measured."""
    with ready.run() as run, transaction(run.engine) as tx:
        postgres = (tx.execute("SHOW server_version").fetchone() or ("",))[0]
        valkey: Any = run.redis.info("server")
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return {
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
        "cores": os.cpu_count(),
        "memory_gib": round(memory / 2**30),
        "load_average": os.getloadavg(),
        "python": platform.python_version(),
        "postgresql": postgres,
        "valkey": valkey.get("valkey_version", valkey.get("redis_version")),
        "settings": SETTINGS,
    }


def _describe(conditions: dict[str, Any]) -> str:
    return (
        "{at:.10}: {cores} cores, {memory_gib} GiB, load {load_average[0]:.1f} before; Python "
        "{python}, PostgreSQL {postgresql}, Valkey {valkey}; {settings}.\n"
    ).format(**conditions)


if __name__ == "__main__":
    sys.exit(main())
