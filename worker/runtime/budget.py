"""The time budget of one run: it goes on until nothing is left or its seconds are over."""

import time

RUN_SECONDS = 5.0
"""A run that takes longer hands over to the next one, so that a shutdown need not wait for it."""


class Budget:
    """A number of seconds that starts to run when it is made; None: without end."""

    def __init__(self, seconds: float | None = RUN_SECONDS) -> None:
        self._deadline = None if seconds is None else time.monotonic() + seconds

    @property
    def is_spent(self) -> bool:
        """Whether the seconds are over."""
        return self._deadline is not None and time.monotonic() >= self._deadline
