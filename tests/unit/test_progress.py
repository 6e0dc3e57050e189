"""A progress bar leaves the terminal as it was, however its command ends."""

import gc
import io

from rich.console import Console
from rich.progress import Progress

from worker.cli.progress import WorkBar


def test_interruption_at_the_end_of_a_block_without_the_bar_does_not_start_the_bar_again() -> None:
    shown = io.StringIO()
    drawn = Progress(console=Console(file=shown, force_terminal=True), auto_refresh=False)
    with drawn:
        block = WorkBar(drawn, "Accepting", 3).hidden()
        block.__enter__()  # Ctrl-C comes before its end is called
    shown.truncate(0)

    del block
    gc.collect()

    assert not drawn.live.is_started
    assert shown.getvalue() == ""
