"""CPU time of the processes of a run, by kind, from /proc."""

import json
import os
import time
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from bench.processes import children

TICK = 1 / os.sysconf("SC_CLK_TCK")


@dataclass(kw_only=True)
class CpuTime:
    """Seconds of CPU, user and system, of each kind of process."""

    seconds: dict[str, float] = field(default_factory=dict[str, float])
    elapsed: float = 0.0
    """Wall-clock seconds of the same period."""

    def micros_per(self, count: int) -> dict[str, float]:
        """Microseconds of CPU per request, command or publish, by kind, and their sum."""
        each = {kind: 1e6 * seconds / count for kind, seconds in self.seconds.items()}
        return each | {"sum": sum(each.values())}


@contextmanager
def cpu_time(pids: Mapping[str, int]) -> Generator[CpuTime]:
    """Measure these processes with all their descendants while the context lasts.

    Processes that end meanwhile count if their parent has waited for them.
    """
    used = CpuTime()
    before, started = {kind: _tree(pid) for kind, pid in pids.items()}, time.perf_counter()
    yield used
    used.elapsed = time.perf_counter() - started
    used.seconds = {kind: _tree(pid) - before[kind] for kind, pid in pids.items()}


def engine_pids(home: Path) -> dict[str, int]:
    """The ids of PostgreSQL and Valkey, from the record in their data directory."""
    pids = json.loads((home / "data" / "engines.json").read_text())["pids"]
    return {name: pids[name] for name in ("postgres", "valkey")}


def _tree(pid: int) -> float:
    """CPU seconds of a process, of its ended children, and of its living descendants."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        return sum(map(int, fields[11:15])) * TICK + sum(map(_tree, children(pid)))
    except (FileNotFoundError, ProcessLookupError):
        return 0.0
