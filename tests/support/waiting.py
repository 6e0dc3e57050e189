"""Wait for a condition instead of sleeping; fail with what was awaited."""

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


def wait_until(
    predicate: Callable[[], T], description: str, timeout: float = 20.0, every: float = 0.02
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
