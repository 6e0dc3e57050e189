"""Quarantined messages: a person reads, retries and deletes them."""

import json

from pydantic import ValidationError
from sqlalchemy import Engine

from db import audit_log
from db.commands import quarantine
from db.commands.quarantine import QuarantinedMessage
from db.session import Connection, transaction, wait_briefly
from schemas.audit import AuditAction, AuditSubject
from schemas.values.actor import Actor, AuditRecord
from schemas.values.page import Page
from worker.enqueue.accept import accept_group, log_accepted
from worker.enqueue.known import LOCK_SECONDS
from worker.enqueue.queue_messages import ReceivedMessage
from worker.enqueue.refusals import EnqueueRefused, Refusal
from worker.enqueue.submission import Submission
from worker.runtime.wake_ups import Waker

NOT_A_MESSAGE = (
    "This is not a message of publish.enqueue. Only its producer can send it again; delete it once"
    " it has been read."
)


class NoSuchMessage(Refusal):
    """There is no such quarantined message: it was retried or deleted."""


class RetryRefused(Refusal):
    """The message is still not valid. It stays in quarantine."""


def list_page(engine: Engine, before: int | None, limit: int) -> Page[QuarantinedMessage]:
    """Return a page of quarantined messages, the newest first."""
    with transaction(engine) as tx:
        return quarantine.list_page(tx, before, limit)


def read_body(engine: Engine, message_id: int) -> str:
    """Return a message's whole body. Raises NoSuchMessage."""
    with transaction(engine) as tx:
        return _require(quarantine.read_body(tx, message_id))


def delete(engine: Engine, message_id: int, by: Actor) -> None:
    """Delete a message. Raises NoSuchMessage."""
    with transaction(engine) as tx:
        _require(quarantine.take(tx, message_id))
        _audit(tx, AuditAction.QUARANTINE_DELETE, message_id, by)


def retry(engine: Engine, waker: Waker, message_id: int, by: Actor) -> int:
    """Accept a message of `publish.enqueue`, and take it out of quarantine in one transaction.

    Returns the number of its commands. Raises NoSuchMessage, or RetryRefused if it is still not
    valid. A message that was accepted before (by its idempotency key) is only taken out.
    """
    with transaction(engine) as tx:
        wait_briefly(tx, LOCK_SECONDS)
        submission = _parse(message_id, _require(quarantine.take(tx, message_id)))
        _audit(tx, AuditAction.QUARANTINE_RETRY, message_id, by)
        outcomes = accept_group(tx, [submission])  # commits
        if isinstance(refused := outcomes[0], EnqueueRefused):
            raise RetryRefused(f"{refused} The message stays in quarantine.")
    waker.wake()
    log_accepted([submission], outcomes)
    return len(submission.requests)


def _parse(message_id: int, body: str) -> Submission:
    """Read a body as the queue's door stores it. Raises RetryRefused."""
    try:
        match json.loads(body):
            case {"args": args, "kwargs": kwargs, **rest} if not rest:
                message = ReceivedMessage(id=f"quarantined-{message_id}", args=args, kwargs=kwargs)
            case _:
                raise RetryRefused(NOT_A_MESSAGE)
    except ValueError:  # not JSON: a body that was too long to be kept whole
        raise RetryRefused(NOT_A_MESSAGE) from None
    try:
        return message.to_submission()
    except (ValidationError, EnqueueRefused, TypeError) as error:
        raise RetryRefused(f"It is still not valid, and stays in quarantine: {error}") from None


def _require(body: str | None) -> str:
    if body is None:
        raise NoSuchMessage("There is no such message in quarantine: it was retried or deleted.")
    return body


def _audit(tx: Connection, action: AuditAction, message_id: int, by: Actor) -> None:
    record = AuditRecord(
        actor=by,
        action=action,
        subject=AuditSubject.QUARANTINED_MESSAGE,
        subject_id=str(message_id),
    )
    audit_log.append(tx, [record])
