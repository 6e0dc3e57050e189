"""`publish-worker punctuality`: how late commands are carried out."""

from typing import Annotated

import typer

from schemas.punctuality import Spread
from worker.cli.connect import database
from worker.cli.output import print_json, print_table
from worker.operations import punctuality as measured

WEEK = 7 * 24 * 3600


def punctuality(
    *,
    window: Annotated[
        int, typer.Option(metavar="SECONDS", help="The last so many seconds.", min=1, max=WEEK)
    ] = 3600,
    as_json: Annotated[bool, typer.Option("--json", help="As one JSON document.")] = False,
) -> None:
    """Show how late commands were, in milliseconds, from falling due to done."""
    with database() as engine:
        seen = measured.measure(engine, seconds=window, workspace_id=None)
    if as_json:
        print_json(seen.model_dump(mode="json"))
        return
    print_table(
        ["ms", "median", "p90", "p95", "p99", "max"],
        [
            ["lateness", *_numbers(seen.lateness)],
            ["waiting", *_numbers(seen.waiting)],
            ["working", *_numbers(seen.working)],
        ],
    )
    typer.echo(f"{seen.commands} commands in the last {window} seconds.", err=True)


def _numbers(spread: Spread) -> list[str]:
    numbers = (spread.median, spread.p90, spread.p95, spread.p99, spread.max)
    return ["" if number is None else f"{number:.1f}" for number in numbers]
