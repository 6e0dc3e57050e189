"""Clocks: how far those of the servers are from this machine's."""

import time
from collections.abc import Callable
from typing import TypeVar

from worker.operations.doctor.findings import Finding, error, ok, warning

T = TypeVar("T")

NOTICED_SECONDS = 2.0
"""More than a busy network explains."""
REFUSED_SECONDS = 300.0
"""Receivers of webhooks and identity providers refuse what is older, or newer."""
REMEDY = "Keep the clocks of all hosts in step: run an NTP client (chrony, systemd-timesyncd)."


def measure_skew(read_clock: Callable[[], tuple[float, T]]) -> tuple[float, T]:
    """Return how many seconds a server's clock is ahead of this machine's, and what else it said.

    The way there and back is not counted as skew: only what it cannot explain.
    """
    before = time.time()
    clock, said = read_clock()
    return to_skew(before, clock, time.time()), said


def to_skew(before: float, clock: float, after: float) -> float:
    """Return how far a clock was outside of the time in which it was read; negative: it is slow."""
    if clock < before:
        return clock - before
    return max(0.0, clock - after)


def assess_skew(server: str, seconds: float) -> Finding:
    """Return the finding on the clock of `server`."""
    name = "clock"
    if abs(seconds) <= NOTICED_SECONDS:
        return ok(name, f"{server} and this machine agree.")
    fault = "fast" if seconds > 0 else "slow"
    detail = f"{server}'s clock is {abs(seconds):.1f} s {fault}, compared with this machine's."
    if abs(seconds) <= REFUSED_SECONDS:
        return warning(name, f"{detail} Commands run by PostgreSQL's clock.", REMEDY)
    return error(name, f"{detail} Receivers refuse webhooks, and sign-in fails.", REMEDY)
