"""Wait for a condition instead of sleeping; fail with what was awaited."""

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")

PATIENCE = 28.0
"""Seconds that a condition may take on a busy machine.

Leases and the longest pauses take 30: what is waited for may not be their work.
"""
WAIT = {"Prefer": f"wait={PATIENCE:.0f}"}
"""The header of a request that is answered with the outcome; its client needs twice as long."""
START_SECONDS = 120.0
"""Until a new interpreter has begun its work there: it imports for a second of CPU."""


def takes_less_than(seconds: float, action: Callable[[], object], tries: int = 3) -> bool:
    """Whether an action does, of which each further try is as long as the first one.

    A machine that pauses in one try does not pause in each.
    """
    for _ in range(tries):
        began = time.monotonic()
        action()
        if time.monotonic() - began < seconds:
            return True
    return False


def wait_until(
    predicate: Callable[[], T], description: str, timeout: float = PATIENCE, every: float = 0.02
) -> T:
    """Return the predicate's first truthy answer, or fail with what was awaited and last seen."""
    deadline = time.monotonic() + timeout
    while True:
        seen = predicate()
        if seen:
            return seen
        if time.monotonic() > deadline:
            raise AssertionError(f"waited {timeout:g} s for {description}; last seen: {seen!r}")
        time.sleep(every)
