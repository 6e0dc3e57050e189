"""Output of the command line: tables and fields for people, JSON for programs."""

import json
import re
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from datetime import datetime
from operator import attrgetter
from typing import Any
from uuid import UUID

from pydantic import BaseModel
from pydantic_core import to_jsonable_python
from rich.cells import cell_len
from rich.console import Console
from rich.table import Table
from rich.text import Text

from worker.cli.ids import to_short_ids
from worker.runtime.printing import make_console, print_line, print_note, to_printable

WIDE = 200
"""The width in columns where there is no terminal, so that files and pipes get whole lines."""
WIDE_ENOUGH = 160
"""The width in columns from which on a terminal's tables have whole ids."""
NAME_WIDTH = 21
"""The width in characters of the names that `print_fields` prints."""

MIN_WIDTH, GAP = 8, 2
"""The width in columns that each column of a table gets, and of the space after it."""
IS_ID = re.compile(r"|[0-9a-f-]{8,36}(?:\.\.[0-9a-f]+)?")
IS_TIME = re.compile(r"|[\d-]{10} [\d:.]{8,12}(?:Z|[+-][\d:]{5,8})")
IS_SHORT = re.compile(r".{0,14}")

Columns = Mapping[str, str | Callable[[Any], Any]]
"""The columns of a table: each heading with an attribute of the row, or a function of it."""


def console() -> Console:
    """Return a console for stdout that does not break lines in a file or a pipe."""
    made = make_console()
    return made if made.is_terminal else make_console(WIDE)


def is_narrow() -> bool:
    """Whether stdout is a terminal that is too narrow for whole ids."""
    shown = console()
    return shown.is_terminal and shown.width < WIDE_ENOUGH


def print_rows(
    rows: Iterable[Any],
    columns: Columns,
    *,
    as_json: bool,
    wide_only: Collection[str] = (),
) -> None:
    """Print rows as a table with these columns, or each whole row as one line of JSON.

    A narrow terminal gets short ids, and no columns that are empty or in `wide_only`.
    """
    RowPages(columns, as_json=as_json, wide_only=wide_only).add(rows)


class RowPages:
    """Rows that are printed page by page, as one table or as JSON: see `print_rows`."""

    def __init__(self, columns: Columns, *, as_json: bool, wide_only: Collection[str] = ()) -> None:
        self._columns = columns
        self._as_json = as_json
        self._wide_only = wide_only
        self._widths: dict[str, int] = {}
        """Of the columns of the pages before; 0 if a column is folded."""

    def add(self, rows: Iterable[Any]) -> None:
        """Print the next page; headings only if they are not those of the page before."""
        if self._as_json:
            for row in rows:
                print_json(row)
            return
        headings, texts = self._to_texts(rows)
        if self._widths and not texts:
            return
        table = to_table(headings, texts)
        table.show_header = headings != list(self._widths)
        before = {} if table.show_header else self._widths
        self._widths = {}
        for column, heading, *cells in zip(table.columns, headings, *texts, strict=True):
            column.min_width = before.get(heading, 0) if column.no_wrap else 0
            width = max(column.min_width, *map(cell_len, (heading, *cells)))
            self._widths[heading] = width if column.no_wrap else 0
        console().print(table)

    def _to_texts(self, rows: Iterable[Any]) -> tuple[list[str], list[list[str]]]:
        """Return the headings and the cells of the columns that the console gets."""
        left_out = self._wide_only if is_narrow() else ()
        columns = {name: get for name, get in self._columns.items() if name not in left_out}
        getters = [attrgetter(each) if isinstance(each, str) else each for each in columns.values()]
        cells = [[get(row) for get in getters] for row in rows]
        short = _shorten(cell for row in cells for cell in row if isinstance(cell, UUID))
        texts = [[_to_cell(cell, short) for cell in row] for row in cells]
        headings = list(columns)
        drops_empty = texts and console().is_terminal
        kept = _keep_filled(texts) if drops_empty else range(len(headings))
        return [headings[n] for n in kept], [[row[n] for n in kept] for row in texts]


def print_table(headings: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Print a table without lines; ids and times are never cut, long text is folded."""
    console().print(to_table(headings, rows))


def to_table(headings: Sequence[str], rows: Iterable[Sequence[str]]) -> Table:
    """Return a table without lines, for a console."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    texts = [[to_printable(cell) for cell in row] for row in rows]
    columns = list(zip(headings, *texts, strict=True))
    whole = _choose_whole(columns)
    for heading, *_ in columns:
        table.add_column(heading, overflow="fold", no_wrap=heading in whole)
    for row in texts:
        table.add_row(*map(Text, row))
    return table


def _choose_whole(columns: Sequence[Sequence[str]]) -> set[str]:
    """Return the headings of columns that are not folded: ids, and as many others as fit."""
    widths = [max(map(cell_len, column)) for column in columns]
    room = console().width - sum(min(width, MIN_WIDTH) + GAP for width in widths)
    whole: set[str] = set()
    for is_wanted in (IS_ID, IS_TIME, IS_SHORT):
        for (heading, *cells), width in zip(columns, widths, strict=True):
            if heading in whole or not (heading == "id" or all(map(is_wanted.fullmatch, cells))):
                continue
            room -= max(width - MIN_WIDTH, 0)
            if room >= 0 or heading == "id":
                whole.add(heading)
    return whole


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


def to_text(value: Any, precision: str = "seconds") -> str:
    """Return a value as text: a time in the local time zone with its offset, nothing for None."""
    match value:
        case None:
            return ""
        case datetime():
            local = value.astimezone().isoformat(" ", precision)
            return local.removesuffix("+00:00") + "Z" if local.endswith("+00:00") else local
        case dict() | list() | tuple() | BaseModel():
            return json.dumps(value, default=to_jsonable_python, ensure_ascii=False)
        case _:
            return str(value)


def _keep_filled(rows: Sequence[Sequence[str]]) -> list[int]:
    """Return the numbers of the columns that have a text."""
    return [number for number, cells in enumerate(zip(*rows, strict=True)) if any(cells)]


def _to_cell(value: Any, short: Mapping[UUID, str]) -> str:
    return short[value] if isinstance(value, UUID) and value in short else to_text(value)


def _shorten(found: Iterable[UUID]) -> dict[UUID, str]:
    """Return short forms for a terminal that is not wide enough for whole ids."""
    return to_short_ids(found) if is_narrow() else {}
