"""Failed commands: why they failed, how many match a filter, and their retry at a limited rate."""

from datetime import timedelta

import structlog
from sqlalchemy import Engine

from db import audit_log
from db.commands import failures
from db.commands.failures import RetriedCommands
from db.session import transaction
from schemas.audit import AuditAction
from schemas.failures import FailureFilter, FailureGroups, FailureRetry, FailureRetryStep
from schemas.values.actor import SYSTEM, Actor, AuditRecord
from worker.runtime.wake_ups import Waker

log: structlog.stdlib.BoundLogger = structlog.stdlib.get_logger(__name__)


def read_failures(engine: Engine, wanted: FailureFilter, workspace_id: int | None) -> FailureGroups:
    """Group the failed commands that match, in a caller's workspace (None: in any), and count them.

    The newest 10,000 failed commands are looked at; `is_partial` says whether there are more.
    """
    if _is_elsewhere(wanted, workspace_id):
        return FailureGroups(groups=[], commands=0, is_partial=False)
    within = workspace_id if workspace_id is not None else wanted.workspace_id
    with transaction(engine) as tx:
        return failures.read_groups(tx, wanted, within)


def retry_failures(
    engine: Engine,
    waker: Waker,
    asked: FailureRetry,
    workspace_id: int | None,
    by: Actor = SYSTEM,
) -> FailureRetryStep:
    """Retry the failed commands that match, the oldest first, and return the next step.

    One transaction, which looks at 2,000 failed commands. The next step continues where this one
    stopped, at the same rate. A step that is repeated retries no command twice, and commands that
    fail again after the first step are not retried by a later one.
    """
    if _is_elsewhere(asked, workspace_id):
        return FailureRetryStep(commands=0, last_due_at=None, next=None)
    within = workspace_id if workspace_id is not None else asked.workspace_id
    with transaction(engine) as tx:
        retried = failures.retry_step(tx, asked, within)
        if retried.commands:
            record = AuditRecord(
                actor=by,
                action=AuditAction.COMMAND_RETRY_ALL,
                workspace_id=within,
                details={
                    **asked.model_dump(mode="json", exclude_none=True),
                    "commands": retried.commands,
                },
            )
            audit_log.append(tx, [record])
    log.info("commands.retried", commands=retried.commands, cause=asked.cause)
    if retried.commands:
        waker.wake()
    return FailureRetryStep(
        commands=retried.commands,
        last_due_at=retried.last_due_at,
        next=_build_next_step(asked, retried),
    )


def _is_elsewhere(wanted: FailureFilter, workspace_id: int | None) -> bool:
    """Whether the caller asks for a workspace that it may not see."""
    return workspace_id is not None and wanted.workspace_id not in (None, workspace_id)


def _build_next_step(asked: FailureRetry, retried: RetriedCommands) -> FailureRetry | None:
    if retried.candidates < failures.STEP:
        return None
    last = retried.last_due_at
    start_at = last + timedelta(seconds=1 / asked.per_second) if last else asked.start_at
    return asked.model_copy(
        update={
            "after": retried.last_id,
            "start_at": start_at,
            "failed_until": asked.failed_until or retried.now,
        }
    )
