"""`--watch`: look again and again, in place on a terminal, line by line elsewhere, until Ctrl-C."""

import signal
import threading
import time
from collections.abc import Callable, Generator, Iterable
from contextlib import closing, contextmanager, suppress
from datetime import datetime
from typing import TypeVar

from rich.console import Group, RenderableType
from rich.live import Live
from rich.text import Text

from worker.cli.connect import find_settings, find_settings_again
from worker.cli.output import console, to_text
from worker.runtime.printing import print_line
from worker.runtime.runtime import Runtime
from worker.runtime.startup import check_settings

T = TypeVar("T")


def watch(
    look: Callable[[Runtime], T],
    render: Callable[[T], RenderableType],
    print_found: Callable[[T], None] | None,
    seconds: float,
) -> None:
    """Look every `seconds` seconds and show what was found, until Ctrl-C.

    `print_found` prints it as JSON. None: a terminal shows what `render` returns in place, and
    elsewhere it is printed, with the time.
    """
    with (
        suppress(KeyboardInterrupt),
        _ctrl_c_ends() as ended,
        closing(_look_again_and_again(look, seconds, ended)) as looks,
    ):
        if print_found is None and console().is_terminal:
            _show_in_place(looks, render)
            return
        for found in looks:
            if print_found is not None:
                print_found(found)
                continue
            console().print(_with_time(render(found)))
            print_line()


def _show_in_place(looks: Iterable[T], render: Callable[[T], RenderableType]) -> None:
    """Show the newest on a screen of its own; the last one stays on the terminal after it."""
    shown: RenderableType | None = None
    try:
        with Live(console=console(), screen=True, auto_refresh=False) as live:
            for found in looks:
                shown = _with_time(render(found))
                live.update(shown, refresh=True)
    finally:
        if shown is not None:
            console().print(shown)


def _with_time(shown: RenderableType) -> RenderableType:
    return Group(Text(to_text(datetime.now().astimezone()), style="dim"), shown)


@contextmanager
def _ctrl_c_ends() -> Generator[threading.Event]:
    """Let Ctrl-C set the event: a look is finished, with its connections. Again, it interrupts."""
    ended = threading.Event()

    def end(*_: object) -> None:
        ended.set()
        signal.signal(signal.SIGINT, signal.default_int_handler)

    before = signal.getsignal(signal.SIGINT)
    if before is signal.SIG_IGN:  # as in the background of a shell
        yield ended
        return
    signal.signal(signal.SIGINT, end)
    try:
        yield ended
    finally:
        signal.signal(signal.SIGINT, before)


def _look_again_and_again(
    look: Callable[[Runtime], T], seconds: float, ended: threading.Event
) -> Generator[T]:
    """Yield what is found. The engines of `up` may come back at other addresses."""
    settings = find_settings()
    check_settings(settings)
    while not ended.is_set():
        with Runtime.open(settings) as runtime:
            while runtime.settings == settings and not ended.is_set():
                begun = time.monotonic()
                yield look(runtime)
                ended.wait(max(0.0, begun + seconds - time.monotonic()))
                settings = find_settings_again(settings)
