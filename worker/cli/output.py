"""Output of the command line: tables and fields for people, JSON for programs."""

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from operator import attrgetter
from typing import Any

from pydantic_core import to_jsonable_python
from rich.console import Console
from rich.table import Table
from rich.text import Text

from worker.runtime.printing import make_console, print_line, print_note, to_printable

WIDE = 200
"""The width in columns where there is no terminal, so that files and pipes get whole lines."""
NAME_WIDTH = 21
"""The width in characters of the names that `print_fields` prints."""

Columns = Mapping[str, str | Callable[[Any], Any]]
"""The columns of a table: each heading with an attribute of the row, or a function of it."""


def console() -> Console:
    """Return a console for stdout that does not break lines in a file or a pipe."""
    made = make_console()
    return made if made.is_terminal else make_console(WIDE)


def print_rows(rows: Iterable[Any], columns: Columns, *, as_json: bool) -> None:
    """Print rows as a table with these columns, or each whole row as one line of JSON."""
    if as_json:
        for row in rows:
            print_json(row)
        return
    getters = [attrgetter(each) if isinstance(each, str) else each for each in columns.values()]
    print_table(list(columns), [[to_text(get(row)) for get in getters] for row in rows])


def print_table(headings: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Print a table without lines; ids are never cut, long text is folded."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    for heading in headings:
        table.add_column(heading, overflow="fold", no_wrap=heading == "id")
    for row in rows:
        table.add_row(*(Text(to_printable(cell)) for cell in row))
    console().print(table)


def print_fields(fields: Mapping[str, Any], *, as_json: bool) -> None:
    """Print named values: one a line, or all as one line of JSON."""
    if as_json:
        print_json(fields)
        return
    for name, field in fields.items():
        print_line(f"{name:<{NAME_WIDTH}} {to_text(field)}")


def print_json(value: Any) -> None:
    """Print a value, which may be a dataclass or a model, as JSON on one line."""
    print_line(json.dumps(value, default=to_jsonable_python, ensure_ascii=False))


def print_more(last: Any, *options: Any) -> None:
    """Say on stderr how to get the next page; `last` identifies the last row, None if it is.

    The next call needs `options` as well.
    """
    if last is not None:
        print_note(" ".join(map(str, ("There are more: --before", last, *options))))


def to_text(value: Any) -> str:
    """Return a value as text; a time in the local time zone, and nothing for None."""
    if isinstance(value, datetime):
        return f"{value.astimezone():%Y-%m-%d %H:%M:%S}"
    return "" if value is None else str(value)
