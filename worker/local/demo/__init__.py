"""`publish-worker demo`: real engines, real processes, and what happens as it happens."""

import time

import httpx
from rich.console import Console
from rich.text import Text
from sqlalchemy.exc import DBAPIError

from worker.local.children import interruptible
from worker.local.demo import summary
from worker.local.demo.scenes import SCENES
from worker.local.demo.screen import Screen
from worker.local.demo.stage import Stage, set_stage
from worker.local.demo.waiting import Failed
from worker.operations.health import examine

WRONG = (Failed, httpx.HTTPError, DBAPIError, KeyError, ValueError)
"""What a scene raises when the answer is not what it should be."""


def demo() -> int:
    """Play all scenes; return 0 if everything was as it should be, else 1."""
    console = Console(highlight=False)
    screen = Screen(console)
    begun = time.monotonic()
    console.print("Starting PostgreSQL, Valkey, the API, a worker and beat …")
    with interruptible(), set_stage(screen) as stage:
        try:
            _play(stage)
        except WRONG as error:
            _show_failure(stage, error, console)
            return 1
        findings = summary.compare(stage)
        stage.findings.extend(findings)
        summary.sum_up(stage, findings, time.monotonic() - begun, console)
        if all(finding.ok for finding in stage.findings):
            return 0
        _show_last_words(stage, console)
    return 1


def _play(stage: Stage) -> None:
    stage.watch.wait(lambda: _is_healthy(stage), "the worker, beat and the API to be ready")
    for number, scene in enumerate(SCENES, start=1):
        stage.subscriber.mark()
        with stage.screen.scene(number, scene.title, scene.about):
            scene.play(stage)


def _is_healthy(stage: Stage) -> bool:
    broker = stage.settings.broker()
    worker = all(check.ok for check in examine(stage.engine, stage.redis, broker))
    return worker and stage.studio.is_ready()


def _show_failure(stage: Stage, error: Exception, console: Console) -> None:
    said = str(error) if isinstance(error, Failed) else f"{type(error).__name__}: {error}"
    if isinstance(error, httpx.HTTPStatusError):
        said = f"{said}\n{error.response.text}"
    said = stage.watch.who_died() or said
    _show_last_words(stage, console)
    console.print(Text(f"✗ {said}", "bold red"), soft_wrap=True)


def _show_last_words(stage: Stage, console: Console) -> None:
    for name, lines in stage.watch.last_words().items():
        console.rule(Text(f"the last lines of {name}", "dim"), align="left")
        console.print(Text("\n".join(lines) or "(nothing)", "dim"), soft_wrap=True)
