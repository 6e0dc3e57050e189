"""Settings of the interpreter for a long-lived process: garbage collection and threads."""

import gc
import sys
from collections.abc import Generator
from contextlib import contextmanager

THREAD_SECONDS = 0.0005
"""How long a thread runs while the event loop waits for the interpreter, in place of 5 ms. Beside
requests with 1,000 commands, single ones are answered in 35 ms instead of 42 (p50), 163 instead of
208 (p99); the large ones take a seventh longer."""


def collect_less_often() -> None:
    """Collect garbage less often, and never look at what is loaded by now: it stays.

    The first collection of everything would stop an API process for 150 ms.
    """
    gc.freeze()
    gc.set_threshold(50_000, 20, 100)


@contextmanager
def tuned_for_loop() -> Generator[None]:
    """The settings of a process with an event loop; those before come back at the end."""
    thresholds, interval = gc.get_threshold(), sys.getswitchinterval()
    collect_less_often()
    sys.setswitchinterval(THREAD_SECONDS)
    try:
        yield
    finally:
        sys.setswitchinterval(interval)
        gc.set_threshold(*thresholds)
        gc.unfreeze()
