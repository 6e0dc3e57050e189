"""`publish-worker commands`: see what was asked for, change it, give it up, try it again."""

from collections.abc import Callable, Sequence
from dataclasses import asdict
from datetime import datetime
from typing import Annotated
from uuid import UUID

import typer
from pydantic_core import to_jsonable_python

from db.commands.inbox import CommandRow
from schemas.command import (
    Action,
    CommandChange,
    CommandFilter,
    CommandOrder,
    CommandState,
    RetryRequest,
    Trigger,
)
from worker.cli.connect import database, everything
from worker.cli.output import moment, print_json, print_table
from worker.cli.time_options import (
    Fold,
    PublishAt,
    PublishAtLocal,
    PublishBefore,
    TimeZone,
    UnpublishAt,
    UnpublishAtLocal,
    moment_option,
    understood,
)
from worker.enqueue import changes, time_zone_updates
from worker.enqueue.new_commands import RequestInvalid
from worker.runtime.errors_explained import complain
from worker.runtime.runtime import Runtime

app = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode="markdown",
    help="See, change, cancel and retry publish commands.",
)

CommandId = Annotated[UUID, typer.Argument(help="As `commands list` shows it.")]
BY = changes.Changer(trigger=Trigger.CLI, workspace_id=None)
AsJson = Annotated[bool, typer.Option("--json", help="As JSON, one command per line.")]


@app.command("list", epilog="Example: `publish-worker commands list --state scheduled --by-due`")
def list_(  # noqa: PLR0913 - each option is one of the filter's fields
    *,
    state: Annotated[CommandState | None, typer.Option(help="Only those in this state.")] = None,
    action: Annotated[Action | None, typer.Option(help="Only those that do this.")] = None,
    video: Annotated[int | None, typer.Option(help="Only those for this video.", min=1)] = None,
    workspace: Annotated[int | None, typer.Option(help="Only this workspace's.", min=1)] = None,
    due_from: Annotated[
        datetime | None, moment_option("--due-from", "Only those due then or later.")
    ] = None,
    due_until: Annotated[
        datetime | None, moment_option("--due-until", "Only those due before.")
    ] = None,
    by_due: Annotated[
        bool, typer.Option("--by-due", help="The next one due first; else the newest.")
    ] = False,
    before: Annotated[UUID | None, typer.Option(help="Only those behind this one.")] = None,
    limit: Annotated[int, typer.Option(help="At most so many.", min=1, max=200)] = 50,
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
    with database() as engine:
        page = changes.list_page(engine, wanted, None)
    print_commands(page.commands, as_json=as_json)
    if page.before:
        typer.echo(f"There are more: --before {page.before}", err=True)


@app.command()
def show(command_id: CommandId, *, as_json: AsJson = False) -> None:
    """Show one command, with everything that is known of it."""
    with database() as engine:
        command = attempt(lambda: changes.show(engine, command_id, None))
    if as_json:
        print_commands([command], as_json=True)
        return
    fields = asdict(command)
    for name, value in fields.items():
        shown = moment(value) if isinstance(value, datetime) else value
        print(f"{name:<18} {'' if shown is None else shown}")


@app.command()
def cancel(command_id: CommandId) -> None:
    """Give a command up that has not ended; its video stays as it is."""
    _change(lambda here: changes.cancel(here.engine, here.waker, command_id, BY))


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
    """Give a command another time, or another latest moment; what is not said stays."""
    change = understood(
        CommandChange,
        publish_at=publish_at,
        publish_at_local=publish_at_local,
        unpublish_at=unpublish_at,
        unpublish_at_local=unpublish_at_local,
        time_zone=time_zone,
        fold=fold,
        publish_before=publish_before,
    )
    _change(lambda here: changes.reschedule(here.engine, here.waker, command_id, change, BY))


@app.command(
    epilog="Examples: `publish-worker commands retry ID`, "
    "`publish-worker commands retry --all --cause RaiseException --per-second 20`"
)
def retry(
    command_id: Annotated[
        UUID | None, typer.Argument(help="As `commands list` shows it; or else --all.")
    ] = None,
    *,
    all_: Annotated[bool, typer.Option("--all", help="Retry every failed command.")] = False,
    cause: Annotated[
        str | None, typer.Option(help="With --all: only those; see `commands causes`.")
    ] = None,
    per_second: Annotated[
        int, typer.Option(help="With --all: so many fall due each second.", min=1, max=1000)
    ] = 50,
) -> None:
    """Give a failed command new attempts, or all of them, at a bounded rate."""
    if (command_id is None) is not all_:
        raise typer.BadParameter("Say either a command's id or --all.")
    if command_id is not None:
        found = command_id
        _change(lambda here: changes.retry(here.engine, here.waker, found, None))
        return
    asked = RetryRequest(cause=cause, per_second=per_second)
    with everything() as here:
        retried = changes.retry_all(here.engine, here.waker, asked, None)
    last = f"; the last falls due at {moment(retried.last_due_at)}" if retried.commands else ""
    typer.echo(f"{retried.commands} commands have new attempts{last}.", err=True)


@app.command()
def causes() -> None:
    """Show why commands failed, the most frequent cause first."""
    with database() as engine:
        found = changes.causes(engine, None)
    print_table(
        ["cause", "commands", "last", "example"],
        [
            [each.cause, str(each.commands), moment(each.last_finished_at), str(each.example)]
            for each in found
        ],
    )


@app.command()
def recompute() -> None:
    """Compute the instants of local times anew, after the time-zone data was updated.

    The worker does the same each hour. What moves is listed, and has its event.
    """
    with everything() as here:
        moved = time_zone_updates.recompute(here.engine).moved
        here.waker.wake()
    print_table(
        ["command", "video", "zone", "local time", "was", "is"],
        [
            [
                str(each.command_id),
                str(each.video_id),
                each.time_zone,
                each.local_time.isoformat(),
                moment(each.before),
                moment(each.after),
            ]
            for each in moved
        ],
    )
    typer.echo(f"{len(moved)} commands moved.", err=True)


def print_commands(rows: Sequence[CommandRow], *, as_json: bool) -> None:
    """As a table, or as JSON with one command per line."""
    if as_json:
        for row in rows:
            print_json(to_jsonable_python(asdict(row)))
        return
    print_table(
        ["id", "video", "action", "state", "reason", "due", "ended", "detail"],
        [
            [
                str(row.id),
                str(row.video_id),
                row.action,
                row.state,
                row.reason or "",
                moment(row.due_at),
                moment(row.finished_at),
                row.detail or "",
            ]
            for row in rows
        ],
    )


def attempt(change: Callable[[], CommandRow]) -> CommandRow:
    """What `change` returns; if the command was left as it is, one line and exit code 1."""
    try:
        return change()
    except (changes.CommandError, RequestInvalid) as error:
        complain(str(error))
        raise typer.Exit(1) from None


def _change(change: Callable[[Runtime], CommandRow]) -> None:
    with everything() as here:
        print_commands([attempt(lambda: change(here))], as_json=False)
