"""Ctrl-C while a command is imported: the process ends at once, and has done nothing yet."""

import os
import signal
from collections.abc import Generator
from contextlib import contextmanager

ENDED = 130
"""The exit code of Ctrl-C."""


@contextmanager
def ended_by_ctrl_c() -> Generator[None]:
    """Let Ctrl-C end the process while the block imports.

    As an exception it could be lost in an import, or become another one with a traceback.
    """
    before = signal.getsignal(signal.SIGINT)
    if before is not signal.default_int_handler:  # ignored, as in the background of a shell
        yield
        return
    signal.signal(signal.SIGINT, _end)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def _end(*_: object) -> None:
    os._exit(ENDED)
