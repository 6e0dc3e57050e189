"""Read, list, reschedule, cancel and retry commands: for the API and the command line.

In every function, `workspace_id` is the caller's: commands of other workspaces do not exist for
that caller (None: it sees all). Each change has an entry of the audit log in its transaction.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any
from uuid import UUID

import structlog
from sqlalchemy import Engine

from db import audit_log
from db.commands import changes, claim, inbox
from db.commands.inbox import StoredCommand
from db.session import Connection, transaction
from db.videos import facts_and_release
from publish_worker_client.events.names import Trigger
from schemas.audit import AuditAction, AuditSubject
from schemas.command import CommandChange, CommandState
from schemas.inbox import CommandFilter, CommandOrder, FailureCause, Retried, RetryRequest
from schemas.values.actor import SYSTEM, Actor, AuditRecord
from schemas.values.decision import Decision
from schemas.values.page import Page
from schemas.values.video_facts import ClaimedCommand
from worker.enqueue.refusals import (
    CommandEnded,
    CommandNotFailed,
    NoSuchCommand,
    RequestInvalid,
)
from worker.enqueue.rescheduling import to_timing, write_timings
from worker.publish.batch_metrics import record_outcomes
from worker.rules.command_events import build_announcements
from worker.rules.decision import end_command

if TYPE_CHECKING:  # its clients of Redis and the broker are a third of a start
    from worker.runtime.wake_ups import Waker

PAGE = 1_000
"""Commands that one transaction of a longer retry changes."""

log: structlog.stdlib.BoundLogger = structlog.stdlib.get_logger(__name__)


@dataclass(frozen=True, kw_only=True)
class Changer:
    """The caller that changes a command: through which trigger, confined to which workspace."""

    trigger: Trigger
    workspace_id: int | None
    actor: Actor = SYSTEM


def read_command(engine: Engine, command_id: UUID, workspace_id: int | None) -> StoredCommand:
    """Return a command. Raises NoSuchCommand."""
    with transaction(engine) as tx:
        return _find(tx, command_id, workspace_id)


def list_page(
    engine: Engine, wanted: CommandFilter, workspace_id: int | None
) -> Page[StoredCommand]:
    """Return a page of the `wanted` commands, in their order.

    Raises NoSuchCommand if the page begins at the due time of a command that does not exist.
    """
    if workspace_id is not None and wanted.workspace_id not in (None, workspace_id):
        return Page()
    with transaction(engine) as tx:
        if wanted.order is CommandOrder.DUE and wanted.before and not wanted.before_due_at:
            last = _find(tx, wanted.before, workspace_id)
            wanted = wanted.model_copy(update={"before_due_at": last.due_at})
        within = workspace_id if workspace_id is not None else wanted.workspace_id
        return inbox.read_page(tx, wanted, workspace_id=within)


def reschedule(
    engine: Engine, waker: "Waker", command_id: UUID, change: CommandChange, by: Changer
) -> StoredCommand:
    """Give a command another time or deadline, and record the event.

    Waits for a transaction that is carrying the command out: either that one publishes, or this one
    reschedules. Raises NoSuchCommand, CommandEnded if the claim was faster, or RequestInvalid.
    """
    try:
        with transaction(engine) as tx:
            before = _find(tx, command_id, by.workspace_id)
            locked = claim.lock_commands(tx, [command_id])
            if not locked:
                raise CommandEnded(_find(tx, command_id, by.workspace_id))
            timing = to_timing(locked[0], change)
            due_at = timing.due_at if timing else locked[0].due_at
            times = {"due_at": due_at.isoformat(), "before": locked[0].due_at.isoformat()}
            _audit(tx, AuditAction.COMMAND_RESCHEDULE, before, by.actor, **times)
            if timing is None:
                changes.check_again(tx, command_id)
            else:
                write_timings(tx, [(locked[0], timing)], by.trigger)
                log.info("command.rescheduled", command_id=str(command_id), due_at=times["due_at"])
    except RequestInvalid:
        # While it was locked, the trigger on the videos' rows may have skipped it.
        with transaction(engine) as tx:
            changes.check_again(tx, command_id)
        raise
    waker.wake()
    return read_command(engine, command_id, by.workspace_id)


def cancel(engine: Engine, waker: "Waker", command_id: UUID, by: Changer) -> StoredCommand:
    """End a command as `cancelled`, with its event; cancelling it again changes nothing.

    Waits for a transaction that is carrying the command out: either that one publishes, or this one
    cancels. Raises NoSuchCommand, or CommandEnded if the claim was faster.
    """
    with transaction(engine) as tx:
        before = _find(tx, command_id, by.workspace_id)
        locked = claim.lock_commands(tx, [command_id])
        if not locked:
            command = _find(tx, command_id, by.workspace_id)
            if command.state == CommandState.CANCELLED:
                return command
            raise CommandEnded(command)
        _audit(tx, AuditAction.COMMAND_CANCEL, before, by.actor)
        decision = _decide_cancelled(locked[0], by.trigger)
        facts_and_release.write(tx, [decision], build_announcements(locked))
    record_outcomes(locked, [decision])
    log.info("command.ended", state=CommandState.CANCELLED, command_id=str(command_id))
    waker.wake()
    return read_command(engine, command_id, by.workspace_id)


def retry(
    engine: Engine,
    waker: "Waker",
    command_id: UUID,
    workspace_id: int | None,
    by: Actor = SYSTEM,
) -> StoredCommand:
    """Give a failed command new attempts. Raises NoSuchCommand or CommandNotFailed."""
    with transaction(engine) as tx:
        _find(tx, command_id, workspace_id)
        retried = changes.retry(tx, command_id)
        command = _find(tx, command_id, workspace_id)
        if not retried:
            raise CommandNotFailed(command)
        _audit(tx, AuditAction.COMMAND_RETRY, command, by)
    waker.wake()
    return command


def retry_all(
    engine: Engine,
    waker: "Waker",
    asked: RetryRequest,
    workspace_id: int | None,
    by: Actor = SYSTEM,
) -> Retried:
    """Give failed commands new attempts, oldest first, `per_second` of them each second."""
    return _retry_page(engine, waker, asked, workspace_id, by)


def count_failed(engine: Engine, cause: str | None) -> tuple[int, datetime]:
    """Return the number of failed commands, 1,000,000 at most, and the database's time."""
    with transaction(engine) as tx:
        return changes.count_failed(tx, cause)


def retry_in_pages(
    engine: Engine, waker: "Waker", asked: RetryRequest, by: Actor, *, until: datetime
) -> Iterator[Retried]:
    """Give the commands that failed by `until` new attempts, a page in a transaction.

    The rate goes on from page to page. Yields each page after its commit.
    """
    due_from: datetime | None = None
    retried: Retried | None = None
    while retried is None or retried.commands == PAGE:
        page = {"limit": PAGE, "until": until, "due_from": due_from}
        retried = _retry_page(engine, waker, asked, None, by, **page)
        if retried.last_due_at:
            due_from = retried.last_due_at + timedelta(seconds=1 / asked.per_second)
        yield retried


def _retry_page(
    engine: Engine,
    waker: "Waker",
    asked: RetryRequest,
    workspace_id: int | None,
    by: Actor,
    **page: Any,
) -> Retried:
    with transaction(engine) as tx:
        retried = changes.retry_all(
            tx, workspace_id=workspace_id, cause=asked.cause, per_second=asked.per_second, **page
        )
        record = AuditRecord(
            actor=by,
            action=AuditAction.COMMAND_RETRY_ALL,
            workspace_id=workspace_id,
            details={**asked.model_dump(), "commands": retried.commands},
        )
        audit_log.append(tx, [record])
    log.info("commands.retried", commands=retried.commands, cause=asked.cause)
    waker.wake()
    return retried


def read_causes(engine: Engine, workspace_id: int | None) -> list[FailureCause]:
    """Return why commands failed, the most frequent cause first."""
    with transaction(engine) as tx:
        return changes.read_causes(tx, workspace_id)


def read_commands(engine: Engine, ids: Sequence[UUID]) -> list[StoredCommand]:
    """Return commands of any workspace, in the order of `ids`; pruned ones are left out."""
    with transaction(engine) as tx:
        found = {command.id: command for command in inbox.read(tx, ids, None)}
    return [found[each] for each in ids if each in found]


def find_ended(engine: Engine, ids: Sequence[UUID]) -> set[UUID]:
    """Return which of these commands have ended."""
    with transaction(engine) as tx:
        return inbox.read_finished(tx, ids)


def _decide_cancelled(locked: ClaimedCommand, trigger: Trigger) -> Decision:
    detail = "A caller cancelled the command."
    decision = end_command(locked, CommandState.CANCELLED, locked.now, "cancelled", detail, trigger)
    return replace(decision, fell_due_at=locked.fell_due_at, claimed_at=None)


def _audit(
    tx: Connection, action: AuditAction, command: StoredCommand, by: Actor, **details: Any
) -> None:
    record = AuditRecord(
        actor=by,
        action=action,
        subject=AuditSubject.COMMAND,
        subject_id=command.id,
        workspace_id=command.workspace_id,
        details={"action": command.action, "video_id": command.video_id, **details},
    )
    audit_log.append(tx, [record])


def _find(tx: Connection, command_id: UUID, workspace_id: int | None) -> StoredCommand:
    found = inbox.read(tx, [command_id], workspace_id)
    if not found:
        raise NoSuchCommand(f"There is no command {command_id}.")
    return found[0]
