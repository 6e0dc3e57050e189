"""What people read on a terminal or in a log cannot steer it, whatever text of others is in it."""

import json
import logging
import re
import sys
from collections.abc import Callable, Generator
from contextlib import contextmanager
from io import StringIO

import pytest
import structlog
from hypothesis import example, given, settings
from hypothesis import strategies as st
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from tests.support.terminal import find_steering
from worker.cli.output import print_fields, print_json, print_rows
from worker.runtime import logs
from worker.runtime.errors_explained import complain
from worker.runtime.printing import make_console, print_line, print_note, to_printable
from worker.runtime.settings import LogFormat

OUR_STYLES = re.compile(r"\x1b\[[\d;]*m")

texts = st.text(st.characters(categories=["Cc", "Cf", "Cs", "Zl", "Zp", "L", "P", "Zs"]))
FUZZ = settings(max_examples=50)
hostile = example("\x1b]0;owned\x07\x9b31m\u202egpj.exe\u2066\x85\r\n\x7f\ud800[red]:smile:\t")


def test_every_character_that_steers_is_escaped_and_text_of_every_script_stays() -> None:
    for character in map(chr, range(sys.maxunicode + 1)):
        steering = (
            find_steering(character) or character == "\n" or "\u206a" <= character <= "\u206f"
        )
        assert (to_printable(character) != character) is bool(steering), hex(ord(character))
    emoji = "👩‍💻 क्‍ष می‌خواهم שלום é ¡"
    assert to_printable(emoji) == emoji


PRINTERS: dict[str, Callable[[str], None]] = {
    "line": print_line,
    "note": print_note,
    "error": complain,
    "fields": lambda text: print_fields({"title": text}, as_json=False),
    "fields as json": lambda text: print_fields({"title": text}, as_json=True),
    "table": lambda text: print_rows([text], {"title": lambda row: row}, as_json=False),
    "rows as json": lambda text: print_rows([{"title": text}], {}, as_json=True),
    "text": lambda text: make_console().print(Text(text)),
    "panel": lambda text: make_console().print(Panel(Text(text), title=Text(text))),
    "rule": lambda text: make_console().rule(Text(text)),
    "grid": lambda text: make_console().print(grid(text)),
}


def grid(text: str) -> Table:
    table = Table(text.replace("[", ""))
    table.add_row(Text(text, "bold"))
    return table


@pytest.mark.parametrize("printer", PRINTERS)
@FUZZ
@hostile
@given(text=texts)
def test_nothing_printed_steers_the_terminal(printer: str, text: str) -> None:
    with pytest.MonkeyPatch.context() as patch:
        out = StringIO()
        patch.setattr("sys.stdout", out)
        patch.setattr("sys.stderr", out)
        PRINTERS[printer](text)
    assert find_steering(out.getvalue()) == set()


@FUZZ
@hostile
@given(text=texts)
def test_on_a_terminal_only_our_own_styles_are_escape_sequences(text: str) -> None:
    out = StringIO()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("FORCE_COLOR", "1")
        patch.setenv("TERM", "xterm")
        console = make_console()
    console.file = out
    console.print(Text.assemble((text, "bold red")))
    kept = [
        part for part in OUR_STYLES.findall(out.getvalue()) if part not in ("\x1b[1;31m", "\x1b[0m")
    ]
    assert kept == []
    assert find_steering(OUR_STYLES.sub("", out.getvalue())) == set()


@FUZZ
@hostile
@given(text=texts)
def test_escaped_json_is_the_same_document(text: str) -> None:
    with pytest.MonkeyPatch.context() as patch:
        out = StringIO()
        patch.setattr("sys.stdout", out)
        print_json({text: [text]})
    assert json.loads(out.getvalue()) == {text: [text]}


class Shown:
    """An object whose `repr` is the text."""

    def __init__(self, text: str) -> None:
        self.text = text

    def __repr__(self) -> str:
        return self.text


@contextmanager
def log_output(*, colours: bool) -> Generator[StringIO]:
    """What a process sends to stderr after `logs.configure`, in a file or on a terminal."""
    root, before, out = logging.getLogger(), structlog.get_config(), StringIO()
    handlers, level = root.handlers, root.level
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(out, "isatty", lambda: colours)
        patch.setattr("sys.stderr", out)
        logs.configure(LogFormat.CONSOLE)
        yield out
    structlog.configure(**before)
    root.handlers = handlers
    root.setLevel(level)


@pytest.mark.parametrize("colours", [False, True])
@FUZZ
@hostile
@given(text=texts)
def test_no_log_line_steers_the_terminal(colours: bool, text: str) -> None:
    error = ValueError(text)
    with log_output(colours=colours) as out:
        structlog.stdlib.get_logger("ours").info(
            "title.seen", title=text, shown=Shown(text), several=[text], exc_info=error
        )
        logging.getLogger("theirs").error("Their message: %s", text, exc_info=error)
    printed = out.getvalue()
    assert find_steering(OUR_STYLES.sub("", printed)) == set()
    assert printed.count("\x1b") == len(OUR_STYLES.findall(printed))


@pytest.mark.parametrize("colours", [False, True])
def test_a_text_cannot_imitate_a_line_of_the_log(colours: bool) -> None:
    forged = "x\n2026-11-28T09:00:00Z [info     ] everything.works"
    error = ValueError(forged)
    with log_output(colours=colours) as out:
        structlog.stdlib.get_logger("ours").error("attempt.failed", error=forged, exc_info=error)
        logging.getLogger("theirs").error("Their message: %s", forged)
    lines = OUR_STYLES.sub("", out.getvalue()).splitlines()
    assert len([line for line in lines if line and not line.startswith("    ")]) == 2
