"""The audit log: record what was refused or has failed, and list entries.

A change that took place is recorded in its own transaction, by the function that makes it, with the
`Actor` that it is given. This module is for the callers of such functions: the command line and the
console; the API's routes do the same in `worker/api/audit.py`.
"""

import re
from collections.abc import Generator
from contextlib import contextmanager

import structlog
from sqlalchemy import Engine

from db import audit_log
from db.errors import DATABASE_ERRORS
from db.session import transaction
from schemas.audit import ActorKind, AuditEntry, AuditFilter, AuditOutcome, Door
from schemas.values.actor import Actor, AuditRecord
from schemas.values.caller import Caller
from schemas.values.page import Page
from worker.runtime.refused import Refused

MAX_CLIENT = 255
"""Characters of an address."""

log: structlog.stdlib.BoundLogger = structlog.stdlib.get_logger(__name__)


def to_actor(caller: Caller, door: Door, *, client: str | None, correlation_id: str) -> Actor:
    """Return the actor that an API key is, or a person, at the API or at the console."""
    person = caller.person
    return Actor(
        kind=ActorKind.PERSON if person else ActorKind.API_KEY,
        door=door,
        key_id=caller.key_id,
        person_id=person and person.id,
        name=person and person.name,
        client=client and client[:MAX_CLIENT],
        correlation_id=correlation_id,
    )


def record(engine: Engine, entry: AuditRecord) -> None:
    """Record an action that changes nothing in the database, in a transaction of its own."""
    with transaction(engine) as tx:
        audit_log.append(tx, [entry])


@contextmanager
def refusals_recorded(engine: Engine, attempt: AuditRecord) -> Generator[Actor]:
    """Record the attempt as refused or failed if the block raises; the error is raised on.

    Yields the actor, which the block passes on to the function that makes the change.
    """
    try:
        yield attempt.actor
    except Refused as error:
        record_end(engine, attempt, AuditOutcome.REFUSED, to_problem_name(error))
        raise
    except Exception as error:
        record_end(engine, attempt, AuditOutcome.FAILED, to_problem_name(error))
        raise


def record_end(engine: Engine, attempt: AuditRecord, outcome: AuditOutcome, problem: str) -> None:
    """Record an attempt that was refused or has failed; if that is not possible, log it."""
    try:
        record(engine, attempt.with_outcome(outcome, problem))
    except DATABASE_ERRORS as error:
        log.warning("audit.not_recorded", action=attempt.action, problem=problem, error=str(error))


def list_page(engine: Engine, wanted: AuditFilter, workspace_id: int | None) -> Page[AuditEntry]:
    """Return a page of entries, the newest first, that the caller sees.

    `workspace_id` is the workspace that the caller's key is confined to (None: every workspace, and
    entries that belong to none).
    """
    if workspace_id is not None and wanted.workspace_id not in (None, workspace_id):
        return Page()
    within = workspace_id if workspace_id is not None else wanted.workspace_id
    with transaction(engine) as tx:
        return audit_log.read_page(tx, wanted, workspace_id=within)


def to_problem_name(error: Exception) -> str:
    """Return an error's class as the API's problem types are written: `command-ended`."""
    return re.sub(r"(?<=[a-z])(?=[A-Z])", "-", type(error).__name__).lower()
