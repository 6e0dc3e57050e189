"""`publish-worker commands`: list, show, reschedule, cancel and retry commands."""

from collections.abc import Callable
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated
from uuid import UUID

import typer

from db.commands.inbox import StoredCommand
from publish_worker_client.events.names import Trigger
from schemas.audit import AuditAction, AuditSubject
from schemas.command import CommandChange
from schemas.inbox import CommandFilter, CommandOrder, RetryRequest
from schemas.values.actor import Actor
from worker.cli.audit import audited
from worker.cli.connect import open_database, open_runtime
from worker.cli.options import AsJson, command_group, options_of_model, to_model
from worker.cli.output import Columns, print_fields, print_more, print_rows, to_text
from worker.enqueue import changes, time_zone_updates
from worker.runtime.printing import print_note

if TYPE_CHECKING:  # it imports Celery and Redis, as `connect` says
    from worker.runtime.runtime import Runtime

app = command_group("List, show, reschedule, cancel and retry commands.")

CommandId = Annotated[
    UUID, typer.Argument(metavar="COMMAND_ID", help="An id that `commands list` shows.")
]
COMMANDS: Columns = {
    "id": "id",
    "video": "video_id",
    "action": "action",
    "state": lambda row: f"{row.state}, due" if row.is_due else row.state,
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
@options_of_model
def list_(
    *,
    wanted: CommandFilter,
    by_due: Annotated[
        bool,
        typer.Option(
            "--by-due", help="List the next due command first. Default: the newest first."
        ),
    ] = False,
    before_due_at: Annotated[
        str | None,
        typer.Option(
            metavar="TIME",
            help="With --by-due: the due time that the previous page showed for --before. It "
            "may have changed since.",
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """List and search commands."""
    order = {"order": CommandOrder.DUE} if by_due else {}
    fields = wanted.model_dump(exclude_unset=True) | order | {"before_due_at": before_due_at}
    wanted = to_model(CommandFilter.model_validate, fields)
    with open_database() as engine:
        page = changes.list_page(engine, wanted, None)
    print_rows(page.items, COMMANDS, as_json=as_json)
    if last := page.next_after:
        print_more(last.id, *(("--before-due-at", last.due_at.isoformat()) if by_due else ()))


@app.command()
def show(command_id: CommandId, *, as_json: AsJson = False) -> None:
    """Show every field of a command."""
    with open_database() as engine:
        print_fields(asdict(changes.read_command(engine, command_id, None)), as_json=as_json)


@app.command()
def cancel(command_id: CommandId) -> None:
    """Cancel a command that has not ended; its video stays as it is."""
    _change(
        AuditAction.COMMAND_CANCEL,
        command_id,
        lambda runtime, by: changes.cancel(
            runtime.engine, runtime.waker, command_id, _to_changer(by)
        ),
    )


@app.command(
    epilog="Example: `publish-worker commands reschedule ID --publish-at-local 2026-12-01T18:00 "
    "--time-zone Europe/Berlin`"
)
@options_of_model
def reschedule(command_id: CommandId, *, change: CommandChange) -> None:
    """Change the time or the deadline of a command; the one that is left out stays as it is."""
    _change(
        AuditAction.COMMAND_RESCHEDULE,
        command_id,
        lambda runtime, by: changes.reschedule(
            runtime.engine, runtime.waker, command_id, change, _to_changer(by)
        ),
    )


@app.command(
    epilog="Examples: `publish-worker commands retry ID`, "
    "`publish-worker commands retry --all --cause RaiseException --per-second 20`"
)
@options_of_model
def retry(
    command_id: Annotated[
        UUID | None,
        typer.Argument(
            metavar="COMMAND_ID", help="An id that `commands list` shows; or use --all."
        ),
    ] = None,
    *,
    all_: Annotated[bool, typer.Option("--all", help="Retry every failed command.")] = False,
    request: RetryRequest,
) -> None:
    """Retry a failed command, or all failed commands at a bounded rate, with new attempts."""
    if (command_id is None) is not all_:
        raise typer.BadParameter("Give either COMMAND_ID or --all.")
    if not all_ and request != RetryRequest():
        raise typer.BadParameter("Give --cause and --per-second only with --all.")
    if command_id is not None:
        one = command_id
        _change(
            AuditAction.COMMAND_RETRY,
            one,
            lambda runtime, by: changes.retry(runtime.engine, runtime.waker, one, None, by),
        )
        return
    with (
        open_runtime() as runtime,
        audited(runtime.engine, AuditAction.COMMAND_RETRY_ALL) as by,
    ):
        retried = changes.retry_all(runtime.engine, runtime.waker, request, None, by)
    last = f"; the last falls due at {to_text(retried.last_due_at)}" if retried.commands else ""
    print_note(f"{retried.commands} commands have new attempts{last}.")


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
    with (
        open_runtime() as runtime,
        audited(runtime.engine, AuditAction.COMMAND_RECOMPUTE) as by,
    ):
        moved = time_zone_updates.recompute_instants(runtime.engine, by=by).moved
        runtime.waker.wake()
    print_rows(moved, MOVED, as_json=False)
    print_note(f"{len(moved)} commands moved.")


def _change(
    action: AuditAction, command_id: UUID, change: "Callable[[Runtime, Actor], StoredCommand]"
) -> None:
    with open_runtime() as runtime:
        with audited(runtime.engine, action, AuditSubject.COMMAND, command_id) as by:
            changed = change(runtime, by)
        print_rows([changed], COMMANDS, as_json=False)


def _to_changer(by: Actor) -> changes.Changer:
    return changes.Changer(trigger=Trigger.CLI, workspace_id=None, actor=by)
