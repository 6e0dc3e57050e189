"""Progress on the terminal: what is being measured, which run of how many, and the time so far."""

import time

from rich.console import Console


class Progress:
    """Prints a line when a measurement begins, and its result."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._started = time.monotonic()

    def begin(self, what: str) -> None:
        """Say what is measured next."""
        self._console.print(f"{self._elapsed()}  {what} …", style="dim", highlight=False)

    def end(self, result: str) -> None:
        """Say what it gave."""
        self._console.print(f"{self._elapsed()}      {result}", highlight=False)

    def _elapsed(self) -> str:
        minutes, seconds = divmod(int(time.monotonic() - self._started), 60)
        return f"{minutes:02}:{seconds:02}"
