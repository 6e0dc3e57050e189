"""`publish-worker status`: whether everything works, and how many commands are in each state."""

from collections.abc import Iterator
from dataclasses import asdict
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Group, RenderableType
from rich.text import Text

from worker.cli.late_imports import late_imports
from worker.cli.options import AsJson
from worker.cli.output import console, is_narrow, print_json, to_table, to_text
from worker.runtime.printing import complain, to_printable

with late_imports():
    from worker.cli import connect, watch
    from worker.operations import status as operated

if TYPE_CHECKING:
    from db.processes import SeenProcess
    from worker.operations.checks import Check
    from worker.operations.status import Status
    from worker.runtime.runtime import Runtime

EVERY = 2.0
"""Seconds from one look of --watch to the next, by default."""
UNKNOWN = "unknown"
GENERATION = {
    True: "noticed at once",
    False: "checked each minute (docs/adopting.md has the trigger)",
    None: UNKNOWN,
}
CHECK_FIELDS = ("name", "ok", "detail", "remedy")
"""The fields of a check that GET /readyz has, too."""


def status(
    seconds: Annotated[
        float | None,
        typer.Argument(
            metavar="SECONDS", help=f"With --watch: how often. Default: {EVERY:g}.", min=0.1
        ),
    ] = None,
    *,
    keep_watching: Annotated[
        bool,
        typer.Option("--watch", "-w", help="Show it again every SECONDS seconds, until Ctrl-C."),
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Show whether everything works, and what is queued. Exit code 1 if something does not work.

    With --watch, a terminal shows the newest state in place; a file or a pipe gets one after the
    other, with --json one document a line. It goes on while the engines are unreachable; Ctrl-C
    ends it with exit code 0.
    """
    if seconds is not None and not keep_watching:
        raise typer.BadParameter("Give SECONDS only with --watch.")
    if keep_watching:
        watch.watch(_survey, _render, print_status_json if as_json else None, seconds or EVERY)
        return
    with connect.open_unchecked() as runtime:
        found = _survey(runtime)
    if as_json:
        print_status_json(found)
    else:
        console().print(_render(found))
    if not found.healthy:
        failing = ", ".join(check.name for check in found.checks if not check.ok)
        complain(f"unhealthy: {failing}.")
        raise typer.Exit(1)


def print_status_json(found: "Status") -> None:
    """Print the state as one line of JSON; `ready` and `checks` are as in GET /readyz."""
    fields: dict[str, Any] = asdict(found)
    checks = [{name: getattr(each, name) for name in CHECK_FIELDS} for each in found.checks]
    print_json({"ready": found.healthy, "at": datetime.now(UTC), **fields, "checks": checks})


def _survey(runtime: "Runtime") -> "Status":
    settings = runtime.settings
    return operated.survey(
        runtime.engine,
        runtime.redis,
        settings.broker(),
        settings.canary_video_id,
        amqp_url=settings.outlet_amqp_url(),
    )


def _render(found: "Status") -> RenderableType:
    """Return what a person sees, for a console."""
    empty = Text()
    states = sorted((found.commands or {}).items())
    nothing = "none yet" if found.commands is not None else UNKNOWN
    counts = [[state, f"{count:,}"] for state, count in states] or [[nothing, ""]]
    return Group(
        *(line for check in found.checks for line in _list_lines(check)),
        empty,
        _to_processes(found.processes),
        empty,
        to_table(["state", "commands"], counts),
        empty,
        *map(Text, _list_values(found)),
    )


def _list_lines(check: "Check") -> Iterator[Text]:
    mark = ("✓ ", "green") if check.ok else ("✗ ", "red")
    yield Text.assemble(mark, (f"{check.name:<9} ", "bold"), to_printable(check.detail))
    if check.remedy:
        yield Text(f"  {'':<9} → {to_printable(check.remedy)}")


def _list_values(found: "Status") -> Iterator[str]:
    oldest = found.oldest_due_seconds
    age = "" if oldest is None else f", the oldest for {oldest:.1f} s"
    nothing = "nothing" if found.commands is not None else UNKNOWN
    yield f"due now              {_to_text(found.due)}{age}"
    yield f"next due             {to_text(found.next_due_at) or nothing}"
    yield f"end of generation    {GENERATION[found.has_generation_trigger]}"
    yield f"last position        {_to_text(found.position)}"
    yield f"on the stream        {_to_text(found.stream_position)}"
    yield f"quarantined messages {_to_text(found.quarantined_messages)}"


def _to_processes(processes: "list[SeenProcess] | None") -> RenderableType:
    headings = ["process", "role", "queues", "since", "last seen", "last batch"]
    wide = ["version", "pid", "processes"]
    narrow = is_narrow()
    rows = [
        [
            each.name,
            each.role,
            ", ".join(each.queues),
            to_text(each.started_at),
            f"{each.seen_seconds:.0f} s ago{'' if each.is_alive else ': gone'}",
            "" if each.batch_seconds is None else f"{each.batch_seconds:.1f} s ago",
            *([] if narrow else [each.version, str(each.pid), str(each.processes)]),
        ]
        for each in processes or ()
    ]
    nothing = "none" if processes is not None else UNKNOWN
    headings += [] if narrow else wide
    return to_table(headings, rows or [[nothing, *[""] * (len(headings) - 1)]])


def _to_text(value: int | None) -> str:
    return UNKNOWN if value is None else f"{value:,}"
