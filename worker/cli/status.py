"""`publish-worker status`: whether everything is alive, and how much is where."""

from dataclasses import asdict
from typing import Annotated

import typer
from pydantic_core import to_jsonable_python

from worker.cli.connect import whatever_answers
from worker.cli.output import console, moment, print_json, print_table
from worker.operations.status import Status, survey
from worker.runtime.errors_explained import complain

UNKNOWN = "unknown"
HEARD = {
    True: "heard at once",
    False: "asked for each minute (docs/adopting.md has the trigger)",
    None: UNKNOWN,
}


def status(
    *, as_json: Annotated[bool, typer.Option("--json", help="As one JSON document.")] = False
) -> None:
    """Tell whether everything works and how much is where; exit code 1 if something does not."""
    with whatever_answers() as here:
        broker, canary = here.settings.broker(), here.settings.canary_video_id
        seen = survey(here.engine, here.redis, broker, canary)
    if as_json:
        print_json(to_jsonable_python({"healthy": seen.healthy, **asdict(seen)}))
    else:
        _print(seen)
    if not seen.healthy:
        sick = ", ".join(check.name for check in seen.checks if not check.ok)
        complain(f"unhealthy: {sick}.")
        raise typer.Exit(1)


def _print(seen: Status) -> None:
    for check in seen.checks:
        mark = "[green]✓[/]" if check.ok else "[red]✗[/]"
        console().print(f"{mark} [bold]{check.name:<9}[/] {check.detail}")
    print()
    print_table(
        ["state", "commands"],
        [[state, f"{count:,}"] for state, count in sorted((seen.commands or {}).items())]
        or [["none yet" if seen.commands is not None else UNKNOWN, ""]],
    )
    print()
    age = (
        ""
        if seen.oldest_due_seconds is None
        else f", the oldest for {seen.oldest_due_seconds:.1f} s"
    )
    print(f"due now              {_known(seen.due)}{age}")
    print(f"next due             {moment(seen.next_due_at) or 'nothing'}")
    print(f"end of generation    {HEARD[seen.hears_generation]}")
    print(f"last position        {_known(seen.position)}")
    print(f"on the stream        {_known(seen.stream_position)}")
    print(f"set-aside messages   {_known(seen.set_aside_messages)}")


def _known(value: int | None) -> str:
    return UNKNOWN if value is None else f"{value:,}"
