"""`publish-worker demo`: real engines and processes, and scenarios that show what they do."""

import time

import httpx
from rich.console import Console
from rich.text import Text

from db.errors import DATABASE_ERRORS
from worker.local.children import interruptible
from worker.local.demo.scenarios import SCENARIOS
from worker.local.demo.screen import Screen
from worker.local.demo.setup import Demo, set_up
from worker.local.demo.summary import summarise
from worker.local.demo.waiting import DemoFailed
from worker.runtime.printing import make_console

WRONG = (DemoFailed, httpx.HTTPError, *DATABASE_ERRORS, KeyError, ValueError)
"""What a scenario raises when an answer is not the expected one."""


def demo() -> int:
    """Run all scenarios; return 0 if every check holds, else 1."""
    console = make_console()
    begun = time.monotonic()
    console.print("Starting PostgreSQL, Valkey, the API, a worker and beat …")
    with interruptible(), set_up(Screen(console)) as ready:
        try:
            _run_scenarios(ready)
            summarise(ready, time.monotonic() - begun, console)
        except WRONG as error:
            _print_logs(ready, console)
            console.print(Text(f"✗ {_error_text(ready, error)}", "bold red"), soft_wrap=True)
            return 1
        if all(check.ok for check in ready.checks):
            return 0
        _print_logs(ready, console)
        return 1


def _run_scenarios(demo: Demo) -> None:
    demo.monitor.wait_for(demo.studio.is_ready, "the worker, beat and the API to be ready")
    for number, (title, run) in enumerate(SCENARIOS, start=1):
        demo.subscriber.mark()
        about = " ".join((run.__doc__ or "").split())
        with demo.screen.scenario(number, title, about):
            run(demo)


def _error_text(demo: Demo, error: Exception) -> str:
    text = str(error) if isinstance(error, DemoFailed) else f"{type(error).__name__}: {error}"
    if isinstance(error, httpx.HTTPStatusError):
        text = f"{text}\n{error.response.text}"
    return demo.monitor.find_failure() or text


def _print_logs(demo: Demo, console: Console) -> None:
    for name, lines in demo.monitor.read_logs().items():
        console.rule(Text(f"the last lines of {name}", "dim"), align="left")
        console.print(Text("\n".join(lines) or "(nothing)", "dim"), soft_wrap=True)
