"""`publish-worker punctuality`: how late commands are carried out."""

from typing import Annotated

import typer

from worker.cli.late_imports import late_imports
from worker.cli.options import AsJson
from worker.cli.output import print_json, print_table
from worker.runtime.printing import print_note

with late_imports():
    from worker.cli import connect
    from worker.operations import punctuality as measuring

WEEK = 7 * 24 * 3600
SPREAD = ("median", "p90", "p95", "p99", "max")


def punctuality(
    *,
    window: Annotated[
        int,
        typer.Option(metavar="SECONDS", help="Measure the last SECONDS seconds.", min=1, max=WEEK),
    ] = 3600,
    as_json: AsJson = False,
) -> None:
    """Show how late commands are, in milliseconds.

    `lateness` is the time from due to done: `waiting` for a worker, then `working`.
    """
    with connect.open_database() as engine:
        found = measuring.measure(engine, seconds=window, workspace_id=None)
    if as_json:
        print_json(found)
        return
    print_table(
        ["ms", *SPREAD],
        [
            [name, *(_to_text(getattr(getattr(found, name), column)) for column in SPREAD)]
            for name in ("lateness", "waiting", "working")
        ],
    )
    print_note(f"Commands in the last {window} seconds: {found.commands}.")


def _to_text(milliseconds: float | None) -> str:
    return "" if milliseconds is None else f"{milliseconds:.1f}"
