"""Messages of `publish.enqueue`: each is accepted or quarantined, many in one transaction."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Any

import structlog
from psycopg.errors import LockNotAvailable
from sqlalchemy import Engine

from db.errors import is_lost_session, is_passing
from db.session import transaction, wait_briefly
from publish_worker_client.events.names import Trigger
from schemas.command import QueueMessage
from schemas.fields import MAX_NAME
from worker.enqueue.accept import Outcome, accept_group, enqueue, log_accepted
from worker.enqueue.known import LOCK_SECONDS
from worker.enqueue.origin import Origin
from worker.enqueue.refusals import EnqueueRefused
from worker.enqueue.spans import end_spans, submit
from worker.enqueue.submission import Accepted, Submission
from worker.runtime.budget import Budget
from worker.runtime.quarantine import quarantine
from worker.runtime.wake_ups import Waker

MAX_COMMANDS = 1_000
"""Commands in one transaction; a message with more has one of its own."""
SINGLE_SECONDS = 20.0
"""How long the messages of a batch are accepted, or quarantined, one by one."""

Retry = Callable[[Callable[..., Any]], Callable[..., Any]]
Result = Accepted | Exception

log: structlog.stdlib.BoundLogger = structlog.stdlib.get_logger(__name__)


@dataclass(frozen=True, kw_only=True, eq=False)
class ReceivedMessage:
    """A message as a producer sent it."""

    id: str
    args: Sequence[Any]
    kwargs: Mapping[str, Any]

    def to_submission(self) -> Submission:
        """Parse it. Raises EnqueueRefused, pydantic's ValidationError, and others."""
        if self.args:
            raise EnqueueRefused("Send keyword arguments only.")
        parsed = QueueMessage.model_validate(self.kwargs)
        key = parsed.idempotency_key or _to_idempotency_key(self.id)
        origin = Origin(
            trigger=Trigger.QUEUE,
            correlation_id=parsed.correlation_id or key,
            traceparent=parsed.traceparent,
            workspace_id=None,  # programs that may use the broker are trusted
            idempotency_scope="queue",
            idempotency_key=key,
        )
        return Submission(requests=parsed.commands, origin=origin)

    def to_body(self) -> dict[str, Any]:
        """Return what is quarantined."""
        return {"args": self.args, "kwargs": self.kwargs}


@dataclass(frozen=True, kw_only=True)
class MessageDoor:
    """Accepts messages. Its retries last half a minute while the database is unreachable."""

    engine: Engine
    waker: Waker
    retry: Retry

    def accept(self, message: ReceivedMessage) -> None:
        """Accept or quarantine a message.

        Raises the database's error if it can do neither now (`db.errors.is_passing`).
        """
        try:
            submission = message.to_submission()
            self.retry(enqueue)(self.engine, self.waker, submission.requests, submission.origin)
        except Exception as error:
            if is_passing(error):
                raise
            # The error of a task would acknowledge the message: keep it.
            self.retry(quarantine)(self.engine, message.to_body(), error)

    def accept_batch(self, messages: Sequence[ReceivedMessage]) -> list[int]:
        """Accept or quarantine each message by itself.

        Returns the indexes of those for which the database could do neither now. Raises its error
        if there is only one message.
        """
        if len(messages) == 1:
            self.accept(messages[0])
            return []
        submissions, results = _parse(messages)
        submissions = {
            index: submit(each.requests, each.origin) for index, each in submissions.items()
        }
        lost: Exception | None = None
        for indexes in _split(submissions):
            group = [submissions[index] for index in indexes]
            outcomes = [lost] * len(group) if lost else self._accept_group(group)
            results.update(zip(indexes, outcomes, strict=True))
            lost = lost or _find_lost_session(outcomes)
        end_spans(submissions.values(), [results[index] for index in submissions])
        budget = Budget(SINGLE_SECONDS)
        return [
            index
            for index, result in sorted(results.items())
            if not isinstance(result, Accepted)
            and (is_passing(result) or budget.is_spent or not self._keep(messages[index], result))
        ]

    def _accept_group(self, submissions: Sequence[Submission]) -> Sequence[Result]:
        try:
            return self.retry(self._try_group)(submissions)
        except Exception as error:  # noqa: BLE001 - each message is given back or quarantined
            return [error] * len(submissions)

    def _try_group(self, submissions: Sequence[Submission]) -> Sequence[Result]:
        """Accept all in one transaction; if that fails because of one of them, each by itself.

        Raises the error if the database could do nothing: that is retried.
        """
        try:
            return self._commit(submissions)
        except Exception as error:
            if len(submissions) == 1 or is_lost_session(error):
                raise
            log.warning("group.retried", submissions=len(submissions), error=str(error))
            results = self._try_each(submissions, error)
        errors = [each for each in results if isinstance(each, Exception) and is_passing(each)]
        if len(errors) == len(submissions):
            raise errors[0]
        return results

    def _try_each(self, submissions: Sequence[Submission], error: Exception) -> list[Result]:
        """Accept each by itself. Those that are not tried any more have the error of the group."""
        results: list[Result] = []
        budget = Budget(SINGLE_SECONDS)
        for submission in submissions:
            if budget.is_spent:
                results.append(LockNotAvailable(f"not tried again after: {error}"))
                continue
            try:
                results += self._commit([submission])
            except Exception as own:  # noqa: BLE001 - it is the result of this message
                results.append(own)
        return results

    def _commit(self, submissions: Sequence[Submission]) -> Sequence[Outcome]:
        with transaction(self.engine) as tx:
            wait_briefly(tx, LOCK_SECONDS)
            outcomes = accept_group(tx, submissions)
        if any(isinstance(each, Accepted) and not each.replayed for each in outcomes):
            self.waker.wake()
        log_accepted(submissions, outcomes)
        return outcomes

    def _keep(self, message: ReceivedMessage, error: Exception) -> bool:
        """Quarantine a message. Returns whether that was possible."""
        try:
            quarantine(self.engine, message.to_body(), error)
        except Exception as failure:  # noqa: BLE001 - the message goes back to the queue
            log.warning("message.not_quarantined", error=str(failure))
            return False
        return True


def _parse(
    messages: Sequence[ReceivedMessage],
) -> tuple[dict[int, Submission], dict[int, Result]]:
    """Return what the messages submit, and the errors of those that cannot be read, by index."""
    submissions: dict[int, Submission] = {}
    errors: dict[int, Result] = {}
    for index, message in enumerate(messages):
        try:
            submissions[index] = message.to_submission()
        except Exception as error:  # noqa: BLE001 - it is the reason for the quarantine
            errors[index] = error
    return submissions, errors


def _split(submissions: Mapping[int, Submission]) -> Iterator[list[int]]:
    """Yield the indexes of submissions that share a transaction."""
    group: list[int] = []
    commands = 0
    for index, submission in submissions.items():
        commands += len(submission.requests)
        if group and commands > MAX_COMMANDS:
            yield group
            group, commands = [], len(submission.requests)
        group.append(index)
    if group:
        yield group


def _find_lost_session(results: Sequence[Result]) -> Exception | None:
    """Return an error that shows that the database is unreachable, if there is one."""
    return next(
        (each for each in results if isinstance(each, Exception) and is_lost_session(each)), None
    )


def _to_idempotency_key(message_id: str) -> str:
    """Return the message's id, or its hash if it is too long or not printable ASCII."""
    if len(message_id) <= MAX_NAME and message_id.isprintable() and message_id.isascii():
        return message_id
    return sha256(message_id.encode(errors="surrogatepass")).hexdigest()
