"""Progress of long work: a bar where stderr is a terminal, and what was kept at an error."""

from collections.abc import Callable, Generator
from contextlib import contextmanager

from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeRemainingColumn,
)

from worker.runtime.printing import make_console, print_note


class WorkBar:
    """A progress bar. Without a terminal it is not shown."""

    def __init__(self, progress: Progress, label: str, total: int) -> None:
        self._progress = progress
        self._task = progress.add_task(label, total=total)

    def advance(self, count: int) -> None:
        """Add what was done to the bar."""
        self._progress.advance(self._task, count)

    def hidden(self) -> "_Hidden":
        """Take the bar off the terminal while the block prints."""
        return _Hidden(self._progress)


class _Hidden:
    """A bar that is stopped for a block.

    Not a generator: one that Ctrl-C interrupts before its end would start the bar again when it is
    collected, after the last line of the command, and leave the terminal without its cursor.
    """

    def __init__(self, progress: Progress) -> None:
        self._progress = progress

    def __enter__(self) -> None:
        self._progress.stop()

    def __exit__(self, *_: object) -> None:
        self._progress.start()


@contextmanager
def progress(label: str, total: int, *, shown: bool = True) -> Generator[WorkBar]:
    """Show how much of the `total` is done while the block runs; `shown`: if it takes long."""
    console = make_console(stderr=True)
    bar = Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        console=console,
        transient=True,
        redirect_stdout=False,
        redirect_stderr=False,
        disable=not (shown and console.is_terminal),
    )
    with bar:
        yield WorkBar(bar, label, total)


@contextmanager
def say_what_was_kept(describe: Callable[[], str | None]) -> Generator[None]:
    """If the block is interrupted or fails, print what is done, and how to go on."""
    try:
        yield
    except BaseException:
        if text := describe():
            print_note(text)
        raise
