"""The demo waits with its eyes open: for what should come, and for what should not die."""

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from worker.local.children import Child
from worker.local.demo.subscriber import Subscriber

PATIENCE_SECONDS = 20.0
LOOK_EVERY_SECONDS = 0.02
LOG_LINES = 15

T = TypeVar("T")


class Failed(Exception):
    """The demo did not get what it waited for."""


@dataclass(frozen=True, kw_only=True)
class Watch:
    """Over the processes, their logs and the subscriber."""

    processes: Sequence[Child]
    logs: Path
    subscriber: Subscriber

    def wait(self, look: Callable[[], T | None], what: str) -> T:
        """What `look` answers once it is truthy; raises Failed if somebody dies, or time is up."""
        pause = threading.Event()
        deadline = time.monotonic() + PATIENCE_SECONDS
        while not (found := look()):
            if died := self.who_died():
                raise Failed(died)
            if time.monotonic() > deadline:
                raise Failed(f"Waited {PATIENCE_SECONDS:.0f} s in vain for {what}.")
            pause.wait(LOOK_EVERY_SECONDS)
        return found

    def who_died(self) -> str | None:
        """Which of the processes, or the subscriber, has ended."""
        for child in self.processes:
            if child.has_ended:
                return f"{child.fate}."
        error = self.subscriber.error
        return f"The subscriber ended: {error!r}." if error else None

    def last_words(self) -> dict[str, list[str]]:
        """The last lines that each process logged."""
        return {
            log.stem: log.read_text(errors="replace").splitlines()[-LOG_LINES:]
            for log in sorted(self.logs.glob("*.log"))
        }
