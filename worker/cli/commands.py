"""`publish-worker commands`: list, show, reschedule, cancel and retry commands."""

from collections.abc import Callable, Iterable
from dataclasses import asdict
from functools import partial
from typing import TYPE_CHECKING, Annotated
from uuid import UUID

import typer

from publish_worker_client.events.names import Trigger
from schemas.audit import AuditAction, AuditSubject
from schemas.command import CommandChange
from schemas.inbox import CommandFilter, CommandOrder, Retried, RetryRequest
from schemas.values.actor import Actor
from worker.cli.audit import audited
from worker.cli.ids import GivenId, IdOf, find_id, parse_id
from worker.cli.interrupts import take_whole
from worker.cli.late_imports import late_imports
from worker.cli.options import AsJson, command_group, options_of_model, to_model
from worker.cli.output import (
    Columns,
    RowPages,
    print_fields,
    print_json,
    print_more,
    print_rows,
    to_text,
)
from worker.cli.progress import progress, say_what_was_kept
from worker.runtime.printing import print_note

with late_imports():
    from worker.api import command_resource
    from worker.cli import connect
    from worker.enqueue import changes, time_zone_updates

if TYPE_CHECKING:
    from db.commands.inbox import StoredCommand
    from worker.enqueue.changes import Changer
    from worker.runtime.runtime import Runtime

app = command_group("List, show, reschedule, cancel and retry commands.")

CommandId = Annotated[
    GivenId,
    typer.Argument(metavar="COMMAND_ID", help="An id that `commands list` shows.", parser=parse_id),
]
COMMANDS: Columns = {
    "id": "id",
    "video": "video_id",
    "action": "action",
    "state": lambda row: f"{row.state}, due" if row.is_due else row.state,
    "reason": "reason",
    "due or ended": lambda row: row.finished_at or row.due_at,
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
    "local time": lambda row: f"{row.local_time.isoformat()} {row.time_zone}",
    "was": "before",
    "is": "after",
}


class CommandPages:
    """Commands that are printed page by page: a table, or each as the API's document on a line."""

    def __init__(self, *, as_json: bool) -> None:
        base_url = connect.find_base_url()
        self._to_document = partial(command_resource.to_publish_command, base_url)
        self._as_json = as_json
        self._pages = RowPages(COMMANDS, as_json=as_json, wide_only={"reason"})

    def add(self, found: "Iterable[StoredCommand]") -> None:
        """Print the next page."""
        self._pages.add(map(self._to_document, found) if self._as_json else found)


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
    with connect.open_database() as engine:
        page = changes.list_page(engine, wanted, None)
    CommandPages(as_json=as_json).add(page.items)
    if last := page.next_after:
        print_more(last.id, *(("--before-due-at", last.due_at.isoformat()) if by_due else ()))


@app.command()
def show(command_id: CommandId, *, as_json: AsJson = False) -> None:
    """Show every field of a command."""
    with connect.open_database() as engine:
        found = find_id(engine, IdOf.COMMAND, command_id)
        command = changes.read_command(engine, found, None)
    base_url = connect.find_base_url()
    document = command_resource.to_publish_command(base_url, command)
    print_fields(dict(document), as_json=as_json)


@app.command()
def cancel(command_id: CommandId, *, as_json: AsJson = False) -> None:
    """Cancel a command that has not ended; its video stays as it is."""
    _change(
        AuditAction.COMMAND_CANCEL,
        command_id,
        lambda runtime, found, by: changes.cancel(
            runtime.engine, runtime.waker, found, _to_changer(by)
        ),
        as_json=as_json,
    )


@app.command(
    epilog="Example: `publish-worker commands reschedule ID --publish-at-local 2026-12-01T18:00 "
    "--time-zone Europe/Berlin`"
)
@options_of_model
def reschedule(command_id: CommandId, *, change: CommandChange, as_json: AsJson = False) -> None:
    """Change the time or the deadline of a command; the one that is left out stays as it is."""
    _change(
        AuditAction.COMMAND_RESCHEDULE,
        command_id,
        lambda runtime, found, by: changes.reschedule(
            runtime.engine, runtime.waker, found, change, _to_changer(by)
        ),
        as_json=as_json,
    )


@app.command(
    epilog="Examples: `publish-worker commands retry ID`, "
    "`publish-worker commands retry --all --cause RaiseException --per-second 20`"
)
@options_of_model
def retry(
    command_id: Annotated[
        GivenId | None,
        typer.Argument(
            metavar="COMMAND_ID",
            help="An id that `commands list` shows; or use --all.",
            parser=parse_id,
        ),
    ] = None,
    *,
    all_: Annotated[bool, typer.Option("--all", help="Retry every failed command.")] = False,
    request: RetryRequest,
    as_json: AsJson = False,
) -> None:
    """Retry a failed command, or all failed commands at a bounded rate, with new attempts.

    --all works in pages of 1,000. If it is interrupted, the rest stays failed.
    """
    if (command_id is None) is not all_:
        raise typer.BadParameter("Give either COMMAND_ID or --all.")
    if not all_ and request != RetryRequest():
        raise typer.BadParameter("Give --cause and --per-second only with --all.")
    if command_id is None:
        _retry_all(request, as_json=as_json)
        return
    _change(
        AuditAction.COMMAND_RETRY,
        command_id,
        lambda runtime, found, by: changes.retry(runtime.engine, runtime.waker, found, None, by),
        as_json=as_json,
    )


def _retry_all(request: RetryRequest, *, as_json: bool) -> None:
    done = Retried(commands=0, last_due_at=None)

    def describe() -> str | None:
        if not done.commands:
            return None
        text = f"{done.commands} commands have new attempts; the others stay failed."
        return f"{text} To go on, repeat the command."

    def note(page: Retried) -> None:
        nonlocal done
        done = Retried(
            commands=done.commands + page.commands,
            last_due_at=page.last_due_at or done.last_due_at,
        )
        bar.advance(page.commands)

    with (
        connect.open_runtime() as runtime,
        audited(runtime.engine, AuditAction.COMMAND_RETRY_ALL) as by,
    ):
        total, now = changes.count_failed(runtime.engine, request.cause)
        with progress("Retrying", total) as bar, say_what_was_kept(describe):
            pages = changes.retry_in_pages(runtime.engine, runtime.waker, request, by, until=now)
            take_whole(pages, note)
    if as_json:
        print_json(done)
        return
    last = f"; the last falls due at {to_text(done.last_due_at)}" if done.commands else ""
    print_note(f"{done.commands} commands have new attempts{last}.")


@app.command()
def causes(*, as_json: AsJson = False) -> None:
    """Show why commands failed, the most frequent cause first."""
    with connect.open_database() as engine:
        found = changes.read_causes(engine, None)
    print_rows(found, CAUSES, as_json=as_json)


@app.command()
def recompute(*, as_json: AsJson = False) -> None:
    """Recompute the instants of local times, after an update of the time-zone data.

    The worker does the same each hour. This lists the commands that moved; each has an event.
    """
    with (
        connect.open_runtime() as runtime,
        audited(runtime.engine, AuditAction.COMMAND_RECOMPUTE) as by,
    ):
        moved = time_zone_updates.recompute_instants(runtime.engine, by=by).moved
        runtime.waker.wake()
    print_rows(map(asdict, moved) if as_json else moved, MOVED, as_json=as_json)
    print_note(f"{len(moved)} commands moved.")


def _change(
    action: AuditAction,
    given: GivenId,
    change: "Callable[[Runtime, UUID, Actor], StoredCommand]",
    *,
    as_json: bool,
) -> None:
    with connect.open_runtime() as runtime:
        found = find_id(runtime.engine, IdOf.COMMAND, given)
        with audited(runtime.engine, action, AuditSubject.COMMAND, found) as by:
            changed = change(runtime, found, by)
    CommandPages(as_json=as_json).add([changed])


def _to_changer(by: Actor) -> "Changer":
    return changes.Changer(trigger=Trigger.CLI, workspace_id=None, actor=by)
