"""`publish-worker status`: whether everything works, and how many commands are in each state."""

from dataclasses import asdict

import typer
from rich.text import Text

from db.processes import SeenProcess
from worker.cli.connect import open_unchecked
from worker.cli.options import AsJson
from worker.cli.output import console, print_json, print_table, to_text
from worker.operations.status import Status, survey
from worker.runtime.errors_explained import complain
from worker.runtime.printing import print_line, to_printable

UNKNOWN = "unknown"
GENERATION = {
    True: "noticed at once",
    False: "checked each minute (docs/adopting.md has the trigger)",
    None: UNKNOWN,
}


def status(*, as_json: AsJson = False) -> None:
    """Show whether everything works, and what is queued. Exit code 1 if something does not work."""
    with open_unchecked() as runtime:
        settings = runtime.settings
        found = survey(
            runtime.engine,
            runtime.redis,
            settings.broker(),
            settings.canary_video_id,
            amqp_url=settings.outlet_amqp_url(),
        )
    if as_json:
        print_json({"healthy": found.healthy, **asdict(found)})
    else:
        _print(found)
    if not found.healthy:
        failing = ", ".join(check.name for check in found.checks if not check.ok)
        complain(f"unhealthy: {failing}.")
        raise typer.Exit(1)


def _print(found: Status) -> None:
    for check in found.checks:
        mark = ("✓ ", "green") if check.ok else ("✗ ", "red")
        name = (f"{check.name:<9} ", "bold")
        console().print(Text.assemble(mark, name, to_printable(check.detail)))
        if check.remedy:
            console().print(Text(f"  {'':<9} → {to_printable(check.remedy)}"))
    print_line()
    _print_processes(found.processes)
    print_line()
    print_table(
        ["state", "commands"],
        [[state, f"{count:,}"] for state, count in sorted((found.commands or {}).items())]
        or [["none yet" if found.commands is not None else UNKNOWN, ""]],
    )
    print_line()
    oldest = found.oldest_due_seconds
    age = "" if oldest is None else f", the oldest for {oldest:.1f} s"
    print_line(f"due now              {_to_text(found.due)}{age}")
    nothing = "nothing" if found.commands is not None else UNKNOWN
    print_line(f"next due             {to_text(found.next_due_at) or nothing}")
    print_line(f"end of generation    {GENERATION[found.has_generation_trigger]}")
    print_line(f"last position        {_to_text(found.position)}")
    print_line(f"on the stream        {_to_text(found.stream_position)}")
    print_line(f"quarantined messages {_to_text(found.quarantined_messages)}")


def _print_processes(processes: list[SeenProcess] | None) -> None:
    headings = ["process", "role", "version", "pid", "processes", "queues", "since", "last seen"]
    rows = [
        [
            each.name,
            each.role,
            each.version,
            str(each.pid),
            str(each.processes),
            ", ".join(each.queues),
            to_text(each.started_at),
            f"{each.seen_seconds:.0f} s ago{'' if each.is_alive else ': gone'}",
            "" if each.batch_seconds is None else f"{each.batch_seconds:.1f} s ago",
        ]
        for each in processes or ()
    ]
    nothing = ["none" if processes is not None else UNKNOWN, *[""] * len(headings)]
    print_table([*headings, "last batch"], rows or [nothing])


def _to_text(value: int | None) -> str:
    return UNKNOWN if value is None else f"{value:,}"
