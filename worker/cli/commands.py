"""`publish-worker commands`: see what was asked for, change it, give it up, try it again."""

from collections.abc import Callable, Sequence
from dataclasses import asdict
from datetime import datetime
from typing import Annotated
from uuid import UUID

import typer
from pydantic import TypeAdapter, ValidationError
from pydantic_core import to_jsonable_python

from db.inbox import CommandRow
from schemas.base import Time
from schemas.command import CommandState
from worker import commands, relay
from worker.app import Process
from worker.cli.opening import database, everything
from worker.cli.printing import moment, print_json, print_table
from worker.preflight import complain

app = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode="markdown",
    help="See, change, cancel and retry publish commands.",
)

CommandId = Annotated[UUID, typer.Argument(help="As `commands list` shows it.")]
AsJson = Annotated[bool, typer.Option("--json", help="As JSON, one command per line.")]

_time = TypeAdapter[datetime](Time)


def parse_moment(text: str) -> datetime:
    """A time as RFC 3339 has it; a usage error otherwise."""
    try:
        return _time.validate_python(text)
    except ValidationError:
        raise typer.BadParameter("Write a time with its offset: 2026-12-01T18:00:00Z.") from None


LATEST_MOMENT = typer.Option(
    "--publish-before",
    parser=parse_moment,
    metavar="TIME",
    help="The latest moment that still makes sense, as 2026-12-01T18:00:00Z.",
)


@app.command("list", epilog="Example: `publish-worker commands list --state failed`")
def list_(
    *,
    state: Annotated[CommandState | None, typer.Option(help="Only those in this state.")] = None,
    video: Annotated[int | None, typer.Option(help="Only those for this video.", min=1)] = None,
    before: Annotated[UUID | None, typer.Option(help="Only those older than this one.")] = None,
    limit: Annotated[int, typer.Option(help="At most so many.", min=1, max=1000)] = 50,
    as_json: AsJson = False,
) -> None:
    """List commands, newest first."""
    with database() as engine:
        page = commands.list_page(
            engine, workspace_id=None, video_id=video, state=state, before=before, limit=limit
        )
    print_commands(page.commands, as_json=as_json)
    if page.before:
        typer.echo(f"There are more: --before {page.before}", err=True)


@app.command()
def show(command_id: CommandId, *, as_json: AsJson = False) -> None:
    """Show one command, with everything that is known of it."""
    with database() as engine:
        command = attempt(lambda: commands.show(engine, command_id, None))
    if as_json:
        print_commands([command], as_json=True)
        return
    fields = asdict(command)
    for name, value in fields.items():
        shown = moment(value) if isinstance(value, datetime) else value
        print(f"{name:<15} {'' if shown is None else shown}")


@app.command()
def cancel(command_id: CommandId) -> None:
    """Give a command up that has not ended; its video stays as it is."""

    def do(here: Process) -> CommandRow:
        command = commands.cancel(here.engine, command_id, None)
        relay.relay_or_later(here.engine, here.waker.redis, here.settings.public_base_url)
        return command

    _change(do)


@app.command()
def reschedule(
    command_id: CommandId, *, publish_before: Annotated[datetime, LATEST_MOMENT]
) -> None:
    """Change a command's latest moment, and ask it again at once."""
    if publish_before <= datetime.now(publish_before.tzinfo):
        raise typer.BadParameter("That has passed; to give the command up, cancel it.")
    _change(
        lambda here: commands.reschedule(here.engine, here.waker, command_id, None, publish_before)
    )


@app.command()
def retry(command_id: CommandId) -> None:
    """Give a failed command new attempts."""
    _change(lambda here: commands.retry(here.engine, here.waker, command_id, None))


def print_commands(rows: Sequence[CommandRow], *, as_json: bool) -> None:
    """As a table, or as JSON with one command per line."""
    if as_json:
        for row in rows:
            print_json(to_jsonable_python(asdict(row)))
        return
    print_table(
        ["id", "video", "state", "reason", "accepted", "ended", "detail"],
        [
            [
                str(row.id),
                str(row.video_id),
                row.state,
                row.reason or "",
                moment(row.accepted_at),
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
    except commands.CommandError as error:
        complain(str(error))
        raise typer.Exit(1) from None


def _change(change: Callable[[Process], CommandRow]) -> None:
    with everything() as here:
        print_commands([attempt(lambda: change(here))], as_json=False)
