"""Printing: what people read on a terminal or in a log, without characters that steer a terminal.

Titles, receivers' answers and errors are text of other people. Nothing else prints, which
tests/unit/test_house_rules.py checks.
"""

import re
import sys
from collections.abc import Iterable
from errno import EBADF
from io import StringIO, TextIOWrapper
from os import devnull
from pathlib import Path
from traceback import format_exception
from types import TracebackType
from typing import TextIO

from rich.console import Console, ConsoleOptions, RenderableType
from rich.segment import Segment

_STEERS = re.compile(
    "["
    "\x00-\x08\x0a-\x1f\x7f-\x9f"  # C0 without the tab, DEL, C1: ESC and CSI are among them
    "\u061c\u200e\u200f\u202a-\u202e\u2066-\u206f"  # the order of the text (bidirectional)
    "\u2028\u2029"  # the ends of lines
    "\ud800-\udfff"  # half a character, which no encoding has
    "]"
)


_SHORT = {"\n": r"\n", "\r": r"\r"}


def to_printable(text: str) -> str:
    r"""Write each character that steers a terminal as `\u001b` or, for the end of a line, `\n`.

    A JSON document stays the same document.
    """
    return _STEERS.sub(lambda match: _SHORT.get(match[0], f"\\u{ord(match[0]):04x}"), text)


def to_printable_lines(text: str) -> str:
    """Do the same for text with several lines, whose line feeds stay."""
    return "\n".join(map(to_printable, text.split("\n")))


def prepare_streams() -> None:
    """Let the streams of this process escape what their encoding lacks, and print tracebacks here.

    A closed stdin is an empty one; what is printed on a closed stderr is lost. Raises OSError if
    stdout is closed.
    """
    if sys.stdin is None:  # pyright: ignore[reportUnnecessaryComparison]
        sys.stdin = Path(devnull).open()  # noqa: SIM115 - until the process ends
    if sys.stderr is None:  # pyright: ignore[reportUnnecessaryComparison]
        sys.stderr = Path(devnull).open("w")  # noqa: SIM115
    if sys.stdout is None:  # pyright: ignore[reportUnnecessaryComparison]
        raise OSError(EBADF, "It is closed")
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    sys.excepthook = _print_traceback


def drop_stdout() -> None:
    """Give up what is still to be written on stdout: the exit would try again, and complain."""
    sys.stdout = StringIO()


def print_line(text: str = "") -> None:
    """Print one line on stdout."""
    _print(text, sys.stdout)


def print_note(text: str) -> None:
    """Print one line on stderr, for the person."""
    _print(text, sys.stderr)


def complain(text: str) -> None:
    """Print an error on stderr; it may have several lines."""
    for line in f"publish-worker: {text}".split("\n"):
        print_note(line)


def make_console(width: int | None = None, *, stderr: bool = False) -> Console:
    """Make a console for stdout or stderr, for tables, colours and progress bars."""
    return _PrintableConsole(highlight=False, emoji=False, width=width, stderr=stderr)


class _PrintableConsole(Console):
    def render(
        self, renderable: RenderableType, options: ConsoleOptions | None = None
    ) -> Iterable[Segment]:
        """Yield the segments of text; only those that Rich itself made may steer the terminal."""
        for segment in super().render(renderable, options):
            text = segment.text if segment.control else to_printable_lines(segment.text)
            yield segment._replace(text=text)


def _print_traceback(
    kind: type[BaseException], error: BaseException, trace: TracebackType | None
) -> None:
    for line in "".join(format_exception(kind, error, trace)).rstrip().split("\n"):
        print_note(line)


def _print(text: str, stream: TextIO | None) -> None:
    if stream is not None:  # None: closed before the start; `print` would take stdout instead
        print(to_printable(text), file=stream, flush=True)
