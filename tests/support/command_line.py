"""`publish-worker` run in the process of the test."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from typer.main import get_command

from worker import cli
from worker.cli.late import LateCommand
from worker.cli.root import app


@dataclass(frozen=True)
class Done:
    """A command that has ended: its exit code and what it printed."""

    code: int
    out: str
    err: str

    @property
    def complaint(self) -> str:
        """The one line on stderr."""
        [line] = self.err.splitlines()
        assert line.startswith("publish-worker: ")
        assert "Traceback" not in self.err
        assert "secret" not in self.err
        return line


Run = Callable[..., Done]


def runner(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Run:
    """Return a function that runs a command with arguments and environment variables."""

    def leave_the_logs_to_pytest(*_: object) -> None:
        pass

    monkeypatch.setattr("worker.runtime.logs.configure", leave_the_logs_to_pytest)

    def publish_worker(*arguments: str, **environment: str) -> Done:
        for name, value in environment.items():
            monkeypatch.setenv(name, value)
        capsys.readouterr()
        with pytest.raises(SystemExit) as end:
            cli.main(list(arguments))
        code = end.value.code
        assert code is None or isinstance(code, int)
        printed = capsys.readouterr()
        return Done(code or 0, printed.out, printed.err)

    return publish_worker


def find_commands() -> dict[tuple[str, ...], Any]:
    """Every command and group of the command line, by the words that it begins with; imported."""
    return dict(_walk(get_command(app), ()))


def _walk(command: Any, path: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], Any]]:
    if isinstance(command, LateCommand):
        command = command.load()
    if path:
        yield path, command
    for name, each in getattr(command, "commands", {}).items():
        yield from _walk(each, (*path, name))
