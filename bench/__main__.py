"""`make bench`: measure, print a table with the goals, and write the numbers as JSON.

    make bench                                  all of it: about four minutes on two cores
    make bench ARGS="--quick"                   a fifth of the work, to see that it runs
    make bench ARGS="--only throughput --runs 5"

Exits with 1 when a goal is missed; with --quick, which is too short for that, always with 0.
"""

import argparse
import json
import os
import platform
import sys
from collections.abc import Callable
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from rich.console import Console

from bench import generation, latency, memory, outage, punctuality, throughput
from bench.report import (
    Row,
    generation_row,
    latency_row,
    memory_row,
    outage_rows,
    punctuality_rows,
    show,
    throughput_rows,
)
from bench.setup import Setup, set_up
from worker.runtime import logs
from worker.runtime.settings import LogFormat

OUTPUT = Path("build/bench.json")
Part = Callable[[Setup, int, bool], tuple[list[Row], Any]]


def main() -> int:
    """Run the chosen measurements; return 0 when every goal is met, else 1."""
    asked = _arguments()
    logs.configure(LogFormat.JSON, "WARNING")
    console = Console()
    rows: list[Row] = []
    numbers: dict[str, Any] = {}
    with set_up(videos=4_100 if asked.quick else 20_100) as ready:
        for name, part in PARTS.items():
            if asked.only in (None, name):
                console.print(f"measuring {name} …", style="dim")
                part_rows, numbers[name] = part(ready, asked.runs, asked.quick)
                rows += part_rows
    show(console, rows)
    _write_numbers(asked.output, numbers)
    console.print(f"numbers: {asked.output}", style="dim")
    return int(not asked.quick and not all(row.met for row in rows))


def _throughput(ready: Setup, runs: int, quick: bool) -> tuple[list[Row], Any]:
    commands, peer_commands = (4_000, 400) if quick else (20_000, 2_000)
    result = throughput.measure(ready, runs=runs, commands=commands, peer_commands=peer_commands)
    return throughput_rows(result), asdict(result) | {"ratio": result.ratio}


def _latency(ready: Setup, _runs: int, quick: bool) -> tuple[list[Row], Any]:
    results = latency.measure(ready, requests=50 if quick else 200)
    return [latency_row(result) for result in results], [asdict(result) for result in results]


def _memory(ready: Setup, _runs: int, quick: bool) -> tuple[list[Row], Any]:
    rounds, commands = (4, 2_000) if quick else (10, 10_000)
    result = memory.measure(ready, rounds=rounds, commands=commands)
    return [memory_row(result)], asdict(result) | {"growth": result.growth}


def _punctuality(ready: Setup, runs: int, quick: bool) -> tuple[list[Row], Any]:
    if quick:
        scenarios = punctuality.measure(
            ready, runs=1, commands=1_000, seconds=8, alone=20, far=50_000
        )
    else:
        scenarios = punctuality.measure(
            ready, runs=runs, commands=10_000, seconds=60, alone=100, far=1_000_000
        )
    return [row for scenario in scenarios for row in punctuality_rows(scenario)], [
        asdict(scenario) for scenario in scenarios
    ]


def _generation(ready: Setup, _runs: int, quick: bool) -> tuple[list[Row], Any]:
    result = generation.measure(ready, videos=20 if quick else 100)
    return [generation_row(result)], asdict(result)


def _outage(ready: Setup, runs: int, quick: bool) -> tuple[list[Row], Any]:
    result = outage.measure(ready, runs=1 if quick else runs, overdue=1_000 if quick else 5_000)
    return outage_rows(result), asdict(result)


PARTS: dict[str, Part] = {
    "throughput": _throughput,
    "latency": _latency,
    "memory": _memory,
    "punctuality": _punctuality,
    "generation": _generation,
    "outage": _outage,
}


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("--quick", action="store_true", help="a fifth of the work")
    parser.add_argument("--only", choices=PARTS, help="run one measurement")
    parser.add_argument("--runs", type=int, default=3, help="runs of each measurement (default: 3)")
    parser.add_argument(
        "--output", type=Path, default=OUTPUT, help=f"file for the numbers (default: {OUTPUT})"
    )
    return parser.parse_args()


def _write_numbers(output: Path, numbers: dict[str, Any]) -> None:
    conditions = {
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
        "python": platform.python_version(),
        "cores": os.cpu_count(),
        "load_average": os.getloadavg(),
    }
    output.parent.mkdir(parents=True, exist_ok=True)
    output.write_text(json.dumps(conditions | numbers, indent=2) + "\n")


if __name__ == "__main__":
    sys.exit(main())
