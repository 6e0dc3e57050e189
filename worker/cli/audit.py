"""`publish-worker audit`: the audit log; and the actor of changes by the command line."""

import getpass
import os
import socket
from collections.abc import Generator
from contextlib import contextmanager
from typing import TYPE_CHECKING
from uuid import UUID, uuid4

from schemas.audit import ActorKind, AuditAction, AuditEntry, AuditFilter, AuditSubject, Door
from schemas.fields import MAX_NAME
from schemas.values.actor import Actor, AuditRecord
from worker.cli.late_imports import late_imports
from worker.cli.options import AsJson, options_of_model
from worker.cli.output import Columns, print_more, print_rows

with late_imports():
    from worker.cli import connect
    from worker.operations import audit as audit_log

if TYPE_CHECKING:
    from sqlalchemy import Engine


def _to_outcome(entry: AuditEntry) -> str:
    """Return the outcome, with the problem if there is one."""
    return f"{entry.outcome}: {entry.problem}" if entry.problem else entry.outcome


def _to_id(text: str | None) -> UUID | str | None:
    """Return an id as one, so that a narrow terminal gets its short form."""
    try:
        return text and UUID(text)
    except ValueError:
        return text


ENTRIES: Columns = {
    "id": "id",
    "at": "at",
    "actor": lambda entry: entry.actor_name or entry.actor,
    "door": "door",
    "from": "client",
    "action": "action",
    "subject": lambda entry: _to_id(entry.subject_id) or entry.subject,
    "workspace": "workspace_id",
    "outcome": _to_outcome,
}


@options_of_model
def audit(*, wanted: AuditFilter, as_json: AsJson = False) -> None:
    """Show who changed or tried to change something, the newest first; --json has every field."""
    with connect.open_database() as engine:
        page = audit_log.list_page(engine, wanted, None)
    print_rows(page.items, ENTRIES, as_json=as_json, wide_only={"door", "from", "workspace"})
    print_more(page.next_after and page.next_after.id)


def find_operator(correlation_id: str | None = None) -> Actor:
    """Return the actor of this process: the operating system's user and host."""
    return Actor(
        kind=ActorKind.OPERATOR,
        door=Door.CLI,
        name=f"{_find_user()}@{socket.gethostname()}"[:MAX_NAME],
        correlation_id=correlation_id or str(uuid4()),
    )


@contextmanager
def audited(
    engine: "Engine",
    action: AuditAction,
    subject: AuditSubject | None = None,
    subject_id: UUID | str | None = None,
) -> Generator[Actor]:
    """Yield the operator, for a change; record the change if it is refused, or fails."""
    attempt = AuditRecord(
        actor=find_operator(), action=action, subject=subject, subject_id=subject_id
    )
    with audit_log.refusals_recorded(engine, attempt) as actor:
        yield actor


def _find_user() -> str:
    """Return the user's name, or its number in a container without an entry for it."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return str(os.getuid())
