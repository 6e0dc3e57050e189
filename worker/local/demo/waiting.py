"""Waiting in the demo: for a condition, unless a process or the subscriber ends before it."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from worker.local.children import Child
from worker.local.demo.subscriber import Subscriber

TIMEOUT_SECONDS = 20.0
CHECK_SECONDS = 0.02
LOG_LINES = 15

T = TypeVar("T")


class DemoFailed(Exception):
    """A condition did not come true; says which, or which process ended."""


@dataclass(frozen=True, kw_only=True)
class Monitor:
    """Watches the processes, their logs and the subscriber."""

    processes: Sequence[Child]
    logs: Path
    subscriber: Subscriber

    def wait_for(self, condition: Callable[[], T | None], description: str) -> T:
        """Return the condition's first true answer.

        Raises DemoFailed if a process ends first, or after 20 seconds.
        """
        deadline = time.monotonic() + TIMEOUT_SECONDS
        while not (answer := condition()):
            if failure := self.find_failure():
                raise DemoFailed(failure)
            if time.monotonic() > deadline:
                raise DemoFailed(f"After {TIMEOUT_SECONDS:.0f} s still waiting for {description}.")
            time.sleep(CHECK_SECONDS)
        return answer

    def find_failure(self) -> str | None:
        """Say which process, or whether the subscriber, has ended."""
        for child in self.processes:
            if child.has_ended:
                return f"{child.end_text}."
        error = self.subscriber.error
        return f"The subscriber ended: {error!r}." if error else None

    def read_logs(self) -> dict[str, list[str]]:
        """The last lines of each process's log."""
        return {
            log.stem: log.read_text(errors="replace").splitlines()[-LOG_LINES:]
            for log in sorted(self.logs.glob("*.log"))
        }
