"""Punctuality: how late commands finished."""

from datetime import datetime

from schemas.fields import Frozen


class Spread(Frozen):
    """Percentiles of a duration. Milliseconds. null: no commands in the window."""

    median: float | None
    p90: float | None
    p95: float | None
    p99: float | None
    max: float | None


class Punctuality(Frozen):
    """The lateness of the commands in a time window. `lateness` is `waiting` plus `working`."""

    window_seconds: int
    since: datetime
    commands: int
    """The number of commands that finished in the window, except cancelled, expired and failed."""
    lateness: Spread
    """From due (after the requested time and the end of generation) to finished."""
    waiting: Spread
    """From due to claimed by a worker."""
    working: Spread
    """From claimed to finished."""
