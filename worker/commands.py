"""Commands: shown, listed, rescheduled, cancelled, retried; for the API and the command line."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

import structlog
from sqlalchemy import Engine

from db import inbox, publication
from db.inbox import CommandRow
from db.session import Connection, transaction
from schemas.command import CommandState
from worker.decision import ended
from worker.wake import Waker

log: structlog.stdlib.BoundLogger = structlog.stdlib.get_logger(__name__)


class CommandError(Exception):
    """The command was left as it was."""


class NoSuchCommand(CommandError):
    """There is no such command, as far as the caller can see."""


class CommandEnded(CommandError):
    """The command has ended, or is just being carried out, so it is too late to change it."""

    def __init__(self, command: CommandRow) -> None:
        super().__init__(f"The command ended as '{command.state}'; it cannot be changed any more.")
        self.command = command


class CommandNotFailed(CommandError):
    """Only a failed command can be retried."""

    def __init__(self, command: CommandRow) -> None:
        super().__init__(f"The command is '{command.state}'; only a failed one can be retried.")
        self.command = command


@dataclass(frozen=True, kw_only=True)
class Page:
    """Some commands, newest first; `before` is where the next page begins, None at the end."""

    commands: list[CommandRow]
    before: UUID | None


def show(engine: Engine, command_id: UUID, workspace_id: int | None) -> CommandRow:
    """A command as it stands. Raises NoSuchCommand."""
    with transaction(engine) as tx:
        return _find(tx, command_id, workspace_id)


def list_page(
    engine: Engine,
    *,
    workspace_id: int | None,
    video_id: int | None = None,
    state: CommandState | None = None,
    before: UUID | None = None,
    limit: int = 50,
) -> Page:
    """A page of commands, newest first."""
    with transaction(engine) as tx:
        found = inbox.page(
            tx,
            workspace_id=workspace_id,
            video_id=video_id,
            state=state,
            before=before,
            limit=limit + 1,
        )
    commands = found[:limit]
    return Page(commands=commands, before=commands[-1].id if len(found) > limit else None)


def reschedule(
    engine: Engine,
    waker: Waker,
    command_id: UUID,
    workspace_id: int | None,
    publish_before: datetime,
) -> CommandRow:
    """Change the latest moment, and ask the command again at once.

    Raises NoSuchCommand, or CommandEnded where the claim was faster.
    """
    with transaction(engine) as tx:
        _find(tx, command_id, workspace_id)
        changed = inbox.reschedule(tx, command_id, publish_before)
        command = _find(tx, command_id, workspace_id)
    if not changed:
        raise CommandEnded(command)
    waker.wake()
    return command


def cancel(engine: Engine, command_id: UUID, workspace_id: int | None) -> CommandRow:
    """End a command as `cancelled`, with its event; cancelling it again changes nothing.

    Waits for a transaction that is carrying the command out: either that one publishes, or this one
    cancels. Raises NoSuchCommand, or CommandEnded where the claim was faster.
    """
    with transaction(engine) as tx:
        _find(tx, command_id, workspace_id)
        held = inbox.hold(tx, command_id)
        if held is None:
            command = _find(tx, command_id, workspace_id)
            if command.state == CommandState.CANCELLED:
                return command
            raise CommandEnded(command)
        decision = ended(
            held, CommandState.CANCELLED, held.now, "cancelled", "Somebody cancelled the command."
        )
        publication.write(tx, [decision])
    log.info("command.settled", state=decision.state, command_id=str(command_id))
    return show(engine, command_id, workspace_id)


def retry(engine: Engine, waker: Waker, command_id: UUID, workspace_id: int | None) -> CommandRow:
    """Give a failed command new attempts. Raises NoSuchCommand or CommandNotFailed."""
    with transaction(engine) as tx:
        _find(tx, command_id, workspace_id)
        retried = inbox.retry(tx, command_id)
        command = _find(tx, command_id, workspace_id)
    if not retried:
        raise CommandNotFailed(command)
    waker.wake()
    return command


def finished(engine: Engine, ids: Sequence[UUID]) -> set[UUID]:
    """Tell which of these commands have ended."""
    with transaction(engine) as tx:
        return inbox.finished(tx, ids)


def _find(tx: Connection, command_id: UUID, workspace_id: int | None) -> CommandRow:
    found = inbox.show(tx, [command_id], workspace_id)
    if not found:
        raise NoSuchCommand(f"There is no command {command_id}.")
    return found[0]
