"""How the command line prints: tables and lines for people, JSON for programs."""

import json
from collections.abc import Sequence
from datetime import datetime
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

WIDE = 200
"""Columns where no terminal says how wide it is: a file or a pipe wraps nothing."""


def console(*, stderr: bool = False) -> Console:
    """A console that never breaks a line in a file or a pipe."""
    made = Console(stderr=stderr, highlight=False)
    return made if made.is_terminal else Console(stderr=stderr, highlight=False, width=WIDE)


def print_table(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """A table without lines; ids are never cut, long text is folded."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    for heading in headings:
        table.add_column(heading, overflow="fold", no_wrap=heading == "id")
    for row in rows:
        table.add_row(*map(escape, row))
    console().print(table)


def print_json(value: Any) -> None:
    """One document on one line."""
    print(json.dumps(value, ensure_ascii=False), flush=True)


def moment(time: datetime | None) -> str:
    """A time for people, in their zone; nothing for None."""
    return f"{time.astimezone():%Y-%m-%d %H:%M:%S}" if time else ""
