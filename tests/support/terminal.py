"""A pseudo-terminal that a command of this process prints on, and what may steer it."""

import os
import pty
import re
import signal
import threading
import tty
import unicodedata
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TextIO

import pytest

from tests.support.waiting import PATIENCE, wait_until
from worker import cli

BIDIRECTIONAL = {
    "\u061c",
    "\u200e",
    "\u200f",
    *map(chr, (*range(0x202A, 0x202F), *range(0x2066, 0x206A))),
}
OURS = re.compile(r"\x1b\[[\d;]*[mHJKA]|\x1b\[\?(?:25|1049)[hl]|\r(?=\x1b\[)")
"""Styles, and what a progress bar or a screen in place needs."""


def find_steering(text: str) -> set[str]:
    """The characters of a text that move the cursor, change a terminal or the order of the text."""
    return {
        character
        for character in text
        if (unicodedata.category(character) in ("Cc", "Cs", "Zl", "Zp") and character not in "\n\t")
        or character in BIDIRECTIONAL
    }


@dataclass
class Terminal:
    """What was printed on it, byte by byte."""

    master: int
    stream: TextIO
    columns: int
    monkeypatch: pytest.MonkeyPatch
    printed: bytearray = field(default_factory=bytearray)

    @property
    def text(self) -> str:
        """Everything that was printed so far."""
        return self.printed.decode(errors="replace")

    @property
    def plain(self) -> str:
        """The same without our own styles and movements."""
        return OURS.sub("", self.text)

    def run(self, *arguments: str) -> int:
        """Run `publish-worker` on it; return the exit code."""
        self.printed.clear()
        with self.monkeypatch.context() as patch:
            patch.setattr("worker.runtime.logs.configure", leave_the_logs_to_pytest)
            patch.setattr("sys.stdout", self.stream)
            patch.setattr("sys.stderr", self.stream)
            patch.setenv("COLUMNS", str(self.columns))
            patch.setenv("LINES", "60")
            patch.setenv("TERM", "xterm-256color")
            with pytest.raises(SystemExit) as end:
                cli.main(list(arguments))
        self.wait_for_all()
        return int(end.value.code or 0)

    def wait_for_all(self) -> None:
        """Wait until everything that was printed has been read."""
        mark = "\x00end\x00"
        print(mark, end="", file=self.stream, flush=True)
        wait_until(lambda: self.printed.endswith(mark.encode()), "the terminal's output")
        del self.printed[-len(mark) :]

    def press_ctrl_c_after(self, text: str) -> None:
        """Interrupt the next command as soon as it has printed a text."""
        self.printed.clear()
        threading.Thread(target=self._interrupt, args=(text,), daemon=True).start()

    def _interrupt(self, text: str) -> None:
        try:
            wait_until(lambda: text in self.plain, f"{text!r} on the terminal")
        finally:
            os.kill(os.getpid(), signal.SIGINT)

    def read(self) -> None:
        """Read what is printed until the terminal is closed."""
        while True:
            try:
                chunk = os.read(self.master, 65536)
            except OSError:  # its other end is closed
                return
            self.printed += chunk


def leave_the_logs_to_pytest(*_: object) -> None:
    """Keep the log of the tests."""


@contextmanager
def open_terminal(monkeypatch: pytest.MonkeyPatch, columns: int = 80) -> Generator[Terminal]:
    """Open a terminal while the block runs."""
    master, slave = pty.openpty()
    tty.setraw(slave)  # else it changes the ends of lines
    stream = os.fdopen(slave, "w")
    terminal = Terminal(master, stream, columns, monkeypatch)
    reader = threading.Thread(target=terminal.read)
    reader.start()
    try:
        with stream:
            yield terminal
    finally:
        reader.join(PATIENCE)
        os.close(master)
