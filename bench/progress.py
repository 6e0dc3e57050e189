"""Progress on the terminal: the plan, what is being measured, the time so far and what is left."""

import time
from collections.abc import Mapping

from rich.console import Console


class Progress:
    """Prints a line when a measurement begins, and its result."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._started = time.monotonic()
        self._plan: dict[str, int] = {}

    def plan(self, seconds: Mapping[str, int]) -> None:
        """Show the parts in order with the seconds that each is expected to take."""
        self._plan = dict(seconds)
        for name, expected in seconds.items():
            self._console.print(f"  {_clock(expected)}  {name}", highlight=False)
        total = _clock(sum(seconds.values()))
        self._console.print(f"  {total}  in all, on two idle cores\n", highlight=False)

    def begin_part(self, name: str) -> None:
        """Say which part is next, and how much is left with it."""
        left = sum(self._plan.values())
        self._plan.pop(name, None)
        self._print(f"[bold]{name}[/] (about {_clock(left)} left)")

    def begin(self, what: str) -> None:
        """Say what is measured next."""
        self._print(f"  {what} …", style="dim")

    def end(self, result: str) -> None:
        """Say what it gave."""
        self._print(f"      {result}")

    def _print(self, text: str, style: str = "") -> None:
        elapsed = _clock(time.monotonic() - self._started)
        self._console.print(f"{elapsed}  {text}", style=style, highlight=False)


def _clock(seconds: float) -> str:
    minutes, rest = divmod(int(seconds), 60)
    return f"{minutes:02}:{rest:02}"
