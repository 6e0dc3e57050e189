"""Enqueue: write publish commands to the inbox in one transaction, and wake Celery."""

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING
from uuid import UUID

import structlog
from sqlalchemy import Engine

from db import audit_log
from db.commands import due_times, idempotency, inbox
from db.commands.idempotency import Key
from db.commands.inbox import StoredCommand
from db.events import outbox
from db.session import Connection, commit, transaction
from publish_worker_client.events.names import EventType, Trigger
from schemas.audit import AuditAction, AuditSubject
from schemas.command import PublishRequest
from schemas.values.actor import Actor, AuditRecord
from schemas.values.video_facts import ClaimedCommand
from worker.enqueue.checks import check, find_contradictions
from worker.enqueue.known import read_known
from worker.enqueue.new_commands import PlannedCommand, to_claimed_command, to_new_command
from worker.enqueue.origin import Origin
from worker.enqueue.refusals import EnqueueRefused, KeyReused
from worker.enqueue.spans import end_span, submit
from worker.enqueue.submission import Accepted, Submission
from worker.rules.command_events import build_scheduled_event

if TYPE_CHECKING:  # its clients of Redis and the broker are a third of a start
    from worker.runtime.wake_ups import Waker

log: structlog.stdlib.BoundLogger = structlog.stdlib.get_logger(__name__)

Outcome = Accepted | EnqueueRefused


def enqueue(
    engine: Engine, waker: "Waker", requests: Sequence[PublishRequest], origin: Origin
) -> Accepted:
    """Accept all of the requests, or none, in one transaction; then wake Celery.

    Once this returns, each command is carried out once, whatever happens to Redis or Celery.

    engine: the database, `Runtime.engine`.
    waker: `Runtime.waker`; if Redis or the broker is down, the sweep finds the commands.
    requests: at least one; one with `unpublish_at` becomes two commands, publish and unpublish.
    origin: where the requests come from.

    Raises NoSuchVideo, RequestInvalid, VideoChanged, TooManyCommands or KeyReused
    (worker.enqueue.refusals), and what the database raises when it is unreachable; then nothing was
    written.
    """
    submission = submit(requests, origin)
    try:
        with transaction(engine) as tx:
            [outcome] = accept_group(tx, [submission])
    except BaseException as error:
        end_span(submission, error)
        raise
    end_span(submission, outcome)
    if isinstance(outcome, EnqueueRefused):
        raise outcome
    if not outcome.replayed:
        waker.wake()
        log_accepted([submission], [outcome])
    return outcome


def accept_group(tx: Connection, submissions: Sequence[Submission]) -> list[Outcome]:
    """Accept or refuse each submission by itself, and commit if any was accepted.

    The outcomes are in the order of the submissions. Each sees those before it as if they had been
    committed: the same idempotency key is replayed, and the limits count their commands.

    On a connection with `autocommit` the insert commits by itself; no submission may have a key, a
    time or an actor then.
    """
    group = _Group(tx, submissions)
    undecided: Sequence[Submission] = submissions
    while undecided:
        group.decide(undecided)
        contended = group.remember_keys()
        undecided = [each for each in undecided if each.key in contended]
    group.read_replayed()
    group.insert()
    return [group.get_outcome(each) for each in submissions]


def accept_again(tx: Connection, submissions: Sequence[Submission]) -> list[Outcome]:
    """Like `accept_group`, after an attempt that may have been committed: that is not repeated."""
    ids = [command_id for each in submissions for command_id in each.command_ids]
    rows = {row.id: row for row in inbox.read(tx, ids, None)}
    kept: dict[Submission, Outcome] = {
        each: Accepted(commands=_in_order(rows, each.command_ids), replayed=False)
        for each in submissions
        if any(command_id in rows for command_id in each.command_ids)
    }
    rest = [each for each in submissions if each not in kept]
    kept.update(zip(rest, accept_group(tx, rest) if rest else (), strict=True))
    return [kept[each] for each in submissions]


def log_accepted(submissions: Sequence[Submission], outcomes: Sequence[Outcome]) -> None:
    """Log how many commands were accepted; a single one with its id."""
    accepted = [
        (each, outcome)
        for each, outcome in zip(submissions, outcomes, strict=True)
        if isinstance(outcome, Accepted) and not outcome.replayed
    ]
    if not accepted:
        return
    first, outcome = accepted[0]
    count = sum(len(outcome.commands) for _, outcome in accepted)
    single = {
        "command_id": str(outcome.commands[0].id),
        "correlation_id": first.origin.correlation_id,
    }
    log.info(
        "commands.accepted",
        commands=count,
        requests=len(accepted),
        trigger=first.origin.trigger,
        **(single if len(accepted) == 1 else {}),
    )


class _Group:
    """The submissions of one transaction: what is decided about each."""

    def __init__(self, tx: Connection, submissions: Sequence[Submission]) -> None:
        self._tx = tx
        self._known = read_known(tx, submissions)
        self._known.contradictions = find_contradictions(tx, submissions, self._known)
        self._refusals: dict[Submission, EnqueueRefused] = {}
        self._replays: dict[Submission, list[UUID]] = {}
        self._new: list[Submission] = []
        self._unstored: dict[Key, Submission] = {}
        self._rows: dict[UUID, StoredCommand] = {}

    def decide(self, submissions: Iterable[Submission]) -> None:
        """Decide about each: refused, replayed or new. No round trip."""
        for each in submissions:
            try:
                self._decide(each)
            except EnqueueRefused as refusal:
                self._refusals[each] = refusal

    def _decide(self, submission: Submission) -> None:
        key = submission.key
        first = self._known.keys.get(key) if key else None
        if first is None:
            self._replays.pop(submission, None)
            check(submission, self._known)
            self._new.append(submission)
            if key:
                self._known.keys[key] = submission.to_first_request()
                self._unstored[key] = submission
        elif first.digest == submission.digest:
            self._replays[submission] = first.command_ids
        else:
            raise KeyReused("This Idempotency-Key was used for another request.")

    def remember_keys(self) -> set[Key]:
        """Store the keys of new submissions; return those that need another decision.

        Another transaction has stored these since they were looked up.
        """
        if not self._unstored:
            return set()
        requests = {key: each.to_first_request() for key, each in self._unstored.items()}
        contended = idempotency.remember(self._tx, requests)
        if contended:
            self._new = [each for each in self._new if each.key not in contended]
            for key in contended:
                del self._known.keys[key]
            self._known.keys.update(idempotency.recall(self._tx, contended)())
        self._unstored.clear()
        return contended

    def read_replayed(self) -> None:
        """Read the commands that are replayed, but those of this group."""
        new = {command_id for each in self._new for command_id in each.command_ids}
        ids = {command_id for found in self._replays.values() for command_id in found} - new
        if ids:
            self._rows.update((row.id, row) for row in inbox.read(self._tx, ids, None))

    def insert(self) -> None:
        """Insert the commands of new submissions, with their events, and commit."""
        commands = [
            to_new_command(command, self._known.videos[command.request.video_id], each.origin)
            for each in self._new
            for command in each.planned
        ]
        if not commands:
            return
        audit_log.append(
            self._tx,
            [
                self._to_audit_record(command, actor)
                for each in self._new
                if (actor := each.origin.actor)
                for command in each.planned
            ],
        )
        if self._tx.autocommit or any(each.is_timed for each in self._new):
            stored = inbox.insert(self._tx, commands)()
        else:
            with self._tx.pipeline():
                answer = inbox.insert(self._tx, commands)
                commit(self._tx)
            stored = answer()
        self._rows.update((row.id, row) for row in stored)
        self._announce(
            [
                to_claimed_command(row, command.traceparent, self._known.videos[row.video_id])
                for command, row in zip(commands, stored, strict=True)
                if row.due_at > row.accepted_at
            ]
        )

    def _to_audit_record(self, command: PlannedCommand, actor: Actor) -> AuditRecord:
        request = command.request
        return AuditRecord(
            actor=actor,
            action=AuditAction.COMMAND_CREATE,
            subject=AuditSubject.COMMAND,
            subject_id=command.id,
            workspace_id=self._known.videos[request.video_id].workspace_id,
            details={"action": command.action, "video_id": request.video_id},
        )

    def _announce(self, timed: Sequence[ClaimedCommand]) -> None:
        """Record that these are scheduled, notify the schedulers, and commit."""
        if not timed:
            return
        events = [
            build_scheduled_event(command, EventType.SCHEDULED, Trigger(command.trigger))
            for command in timed
        ]
        due_times.notify_due(self._tx, [command.due_at for command in timed])
        outbox.append(self._tx, [event for event in events if event])

    def get_outcome(self, submission: Submission) -> Outcome:
        """Return what was decided, with the rows as they are now."""
        if refusal := self._refusals.get(submission):
            return refusal
        replayed = self._replays.get(submission)
        ids = submission.command_ids if replayed is None else replayed
        return Accepted(commands=_in_order(self._rows, ids), replayed=replayed is not None)


def _in_order(rows: dict[UUID, StoredCommand], ids: Sequence[UUID]) -> list[StoredCommand]:
    return [rows[each] for each in ids if each in rows]
