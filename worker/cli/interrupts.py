"""Ctrl-C where an exception would be lost, become another one, or lose what was accepted."""

import os
import signal
import threading
from collections.abc import Callable, Generator, Iterable
from contextlib import contextmanager
from typing import TypeVar

T = TypeVar("T")

ENDED = 130
"""The exit code of Ctrl-C."""


@contextmanager
def ended_by_ctrl_c() -> Generator[None]:
    """Let Ctrl-C end the process at once while the block imports a command: nothing is done yet."""
    before = signal.getsignal(signal.SIGINT)
    if before is not signal.default_int_handler or _is_in_thread():  # ignored: in the background
        yield
        return
    signal.signal(signal.SIGINT, _end)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


@contextmanager
def ctrl_c_held() -> Generator[None]:
    """Let Ctrl-C interrupt after the block; a second one interrupts within it."""
    before = signal.getsignal(signal.SIGINT)
    if not callable(before) or before is _end or _is_in_thread():
        yield
        return
    held: list[int] = []

    def note(number: int, _: object) -> None:
        held.append(number)
        signal.signal(signal.SIGINT, before)

    signal.signal(signal.SIGINT, note)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
        if held:
            before(held[0], None)


def take_whole(pages: Iterable[T], note: Callable[[T], object]) -> None:
    """Take each page and note it: Ctrl-C interrupts between two pages, a second one within one."""
    left, is_over = iter(pages), False
    while not is_over:
        with ctrl_c_held():
            page = next(left, None)
            is_over = page is None
            if page is not None:
                note(page)


def is_interrupt(error: BaseException | None) -> bool:
    """Whether this error is Ctrl-C, or came of it, as one of a driver that was interrupted."""
    while error is not None and not isinstance(error, KeyboardInterrupt):
        error = error.__cause__ or error.__context__
    return error is not None


def _is_in_thread() -> bool:
    return threading.current_thread() is not threading.main_thread()


def _end(*_: object) -> None:
    os._exit(ENDED)
