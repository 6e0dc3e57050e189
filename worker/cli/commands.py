"""`publish-worker commands`: list, show, reschedule, cancel and retry commands."""

from collections.abc import Callable
from dataclasses import asdict
from datetime import datetime
from typing import Annotated
from uuid import UUID

import typer

from db.commands.inbox import StoredCommand
from schemas.command import (
    Action,
    CommandChange,
    CommandFilter,
    CommandOrder,
    CommandState,
    RetryRequest,
    Trigger,
)
from worker.cli.connect import open_database, open_runtime
from worker.cli.output import AsJson, Columns, Limit, print_fields, print_more, print_rows, to_text
from worker.cli.time_options import (
    Fold,
    PublishAt,
    PublishAtLocal,
    PublishBefore,
    TimeZone,
    UnpublishAt,
    UnpublishAtLocal,
    time_option,
    to_request,
)
from worker.enqueue import changes, time_zone_updates
from worker.runtime.runtime import Runtime

app = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode="markdown",
    help="List, show, reschedule, cancel and retry commands.",
)

CommandId = Annotated[
    UUID, typer.Argument(metavar="COMMAND_ID", help="An id that `commands list` shows.")
]
BY = changes.Changer(trigger=Trigger.CLI, workspace_id=None)
COMMANDS: Columns = {
    "id": "id",
    "video": "video_id",
    "action": "action",
    "state": "state",
    "reason": "reason",
    "due": "due_at",
    "ended": "finished_at",
    "detail": "detail",
}
CAUSES: Columns = {
    "cause": "cause",
    "commands": "commands",
    "last": "last_finished_at",
    "example": "example",
}
MOVED: Columns = {
    "command": "command_id",
    "video": "video_id",
    "zone": "time_zone",
    "local time": lambda row: row.local_time.isoformat(),
    "was": "before",
    "is": "after",
}


@app.command("list", epilog="Example: `publish-worker commands list --state scheduled --by-due`")
def list_(  # noqa: PLR0913 - each option is one of the filter's fields
    *,
    state: Annotated[
        CommandState | None,
        typer.Option(
            metavar="STATE", help=f"Only commands in this state: {', '.join(CommandState)}."
        ),
    ] = None,
    action: Annotated[Action | None, typer.Option(help="Only commands with this action.")] = None,
    video: Annotated[int | None, typer.Option(help="Only commands for this video.", min=1)] = None,
    workspace: Annotated[
        int | None, typer.Option(help="Only commands of this workspace.", min=1)
    ] = None,
    due_from: Annotated[
        datetime | None,
        time_option("--due-from", "Only commands that are due at this time or later."),
    ] = None,
    due_until: Annotated[
        datetime | None, time_option("--due-until", "Only commands that are due before this time.")
    ] = None,
    by_due: Annotated[
        bool,
        typer.Option(
            "--by-due", help="List the next due command first. Default: the newest first."
        ),
    ] = False,
    before: Annotated[
        UUID | None, typer.Option(help="Only commands after this one in the list.")
    ] = None,
    limit: Limit = 50,
    as_json: AsJson = False,
) -> None:
    """List and search commands."""
    wanted = CommandFilter(
        video_id=video,
        workspace_id=workspace,
        state=state,
        action=action,
        due_from=due_from,
        due_until=due_until,
        order=CommandOrder.DUE if by_due else CommandOrder.NEWEST,
        before=before,
        limit=limit,
    )
    with open_database() as engine:
        page = changes.list_page(engine, wanted, None)
    print_rows(page.items, COMMANDS, as_json=as_json)
    print_more(page.next_after and page.next_after.id)


@app.command()
def show(command_id: CommandId, *, as_json: AsJson = False) -> None:
    """Show every field of a command."""
    with open_database() as engine:
        print_fields(asdict(changes.read_command(engine, command_id, None)), as_json=as_json)


@app.command()
def cancel(command_id: CommandId) -> None:
    """Cancel a command that has not ended; its video stays as it is."""
    _change(lambda runtime: changes.cancel(runtime.engine, runtime.waker, command_id, BY))


@app.command(
    epilog="Example: `publish-worker commands reschedule ID --publish-at-local 2026-12-01T18:00 "
    "--time-zone Europe/Berlin`"
)
def reschedule(
    command_id: CommandId,
    *,
    publish_at: PublishAt = None,
    publish_at_local: PublishAtLocal = None,
    unpublish_at: UnpublishAt = None,
    unpublish_at_local: UnpublishAtLocal = None,
    time_zone: TimeZone = None,
    fold: Fold = None,
    publish_before: PublishBefore = None,
) -> None:
    """Change the times of a command. Options that are left out keep their values."""
    change = to_request(
        CommandChange,
        publish_at=publish_at,
        publish_at_local=publish_at_local,
        unpublish_at=unpublish_at,
        unpublish_at_local=unpublish_at_local,
        time_zone=time_zone,
        fold=fold,
        publish_before=publish_before,
    )
    _change(
        lambda runtime: changes.reschedule(runtime.engine, runtime.waker, command_id, change, BY)
    )


@app.command(
    epilog="Examples: `publish-worker commands retry ID`, "
    "`publish-worker commands retry --all --cause RaiseException --per-second 20`"
)
def retry(
    command_id: Annotated[
        UUID | None,
        typer.Argument(
            metavar="COMMAND_ID", help="An id that `commands list` shows; or use --all."
        ),
    ] = None,
    *,
    all_: Annotated[bool, typer.Option("--all", help="Retry every failed command.")] = False,
    cause: Annotated[
        str | None,
        typer.Option(
            help="With --all: only commands with this cause, as `commands causes` shows it."
        ),
    ] = None,
    per_second: Annotated[
        int,
        typer.Option(
            help="With --all: number of commands that become due each second.", min=1, max=1000
        ),
    ] = 50,
) -> None:
    """Retry a failed command, or all failed commands at a bounded rate, with new attempts."""
    if (command_id is None) is not all_:
        raise typer.BadParameter("Give either COMMAND_ID or --all.")
    if command_id is not None:
        one = command_id
        _change(lambda runtime: changes.retry(runtime.engine, runtime.waker, one, None))
        return
    asked = RetryRequest(cause=cause, per_second=per_second)
    with open_runtime() as runtime:
        retried = changes.retry_all(runtime.engine, runtime.waker, asked, None)
    last = f"; the last falls due at {to_text(retried.last_due_at)}" if retried.commands else ""
    typer.echo(f"{retried.commands} commands have new attempts{last}.", err=True)


@app.command()
def causes() -> None:
    """Show why commands failed, the most frequent cause first."""
    with open_database() as engine:
        found = changes.read_causes(engine, None)
    print_rows(found, CAUSES, as_json=False)


@app.command()
def recompute() -> None:
    """Recompute the instants of local times, after an update of the time-zone data.

    The worker does the same each hour. This lists the commands that moved; each has an event.
    """
    with open_runtime() as runtime:
        moved = time_zone_updates.recompute_instants(runtime.engine).moved
        runtime.waker.wake()
    print_rows(moved, MOVED, as_json=False)
    typer.echo(f"{len(moved)} commands moved.", err=True)


def _change(change: Callable[[Runtime], StoredCommand]) -> None:
    with open_runtime() as runtime:
        print_rows([change(runtime)], COMMANDS, as_json=False)
