"""How a command ends that did not do what it was asked: one line on stderr, and an exit code."""

from traceback import walk_tb
from types import TracebackType
from typing import Any

from typer.exceptions import TyperException

from worker.cli.interrupts import ENDED, is_interrupt
from worker.cli.late_imports import late_imports
from worker.runtime.printing import complain, drop_stdout, prepare_streams, to_printable

with late_imports():
    from worker.cli import explained

FAILED = 1
"""Refused, failed or unhealthy."""
READER_ENDED = 141
"""The program that reads stdout ended first, as `head` does: what a shell shows for SIGPIPE."""


class one_clear_end:  # noqa: N801 - a context manager, used as a function
    """Prepare the streams; end the process with one line on stderr if the error has a cause.

    It is a class, so that what explains errors of servers is imported only when there is one.
    """

    def __enter__(self) -> None:
        """Let the streams print any text."""
        try:
            prepare_streams()
        except OSError as error:
            _end_at_stream(error)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Exit with the error's code; an error that nothing explains is a bug, and goes on."""
        match error:
            case TyperException():
                _end_at_usage(error)
            case SystemExit() if isinstance(error.__context__, BrokenPipeError):  # Typer's 1
                raise SystemExit(READER_ENDED) from None
            case Exception() if is_interrupt(error):
                raise SystemExit(ENDED) from None
            case OSError():
                _end_at_stream(error)
            case Exception():
                _end_explained(error)
            case _:
                pass


def _end_at_usage(error: TyperException) -> None:
    if text := " ".join(error.format_message().split()):  # else the help text was printed
        complain(to_printable(f"{text} (see `{_command_of(error)} --help`)"))
    raise SystemExit(error.exit_code) from None


def _end_at_stream(error: OSError) -> None:
    if error.filename is None:
        drop_stdout()
    complain(to_printable(f"{error.filename or 'stdout'}: {error.strerror or error}"))
    raise SystemExit(FAILED) from None


def _end_explained(error: Exception) -> None:
    text = explained.explain_refusal(error)
    if text is not None:
        complain(text)
        raise SystemExit(FAILED) from None


def _command_of(error: TyperException) -> str:
    """Return the command whose arguments are wrong.

    Typer's parser does not name it where an option has no value, or one that it does not take: then
    it is the last one whose arguments were being read.
    """
    contexts: list[Any] = [getattr(error, "ctx", None)]
    if contexts == [None]:
        contexts = [frame.f_locals.get("ctx") for frame, _ in walk_tb(error.__traceback__)]
    paths = [each.command_path for each in contexts if each is not None]
    return paths[-1] if paths else "publish-worker"
