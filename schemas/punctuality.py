"""Punctuality: how late commands were carried out."""

from datetime import datetime

from schemas.fields import Frozen


class Spread(Frozen):
    """How a duration was spread over the commands, in milliseconds; null where there are none."""

    median: float | None
    p90: float | None
    p95: float | None
    p99: float | None
    max: float | None


class Punctuality(Frozen):
    """How late the commands of a window of time were; `lateness` is `waiting` plus `working`."""

    window_seconds: int
    since: datetime
    commands: int
    """How many were carried out in the window; cancelled, expired and failed ones do not count."""
    lateness: Spread
    """From the moment that they fell due (their time had come, generation had ended) to done."""
    waiting: Spread
    """From the moment that they fell due until a worker took them in hand."""
    working: Spread
    """From then until done."""
