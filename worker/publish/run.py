"""Publish: carry out the commands that are due, a batch in one transaction.

Claim, flip, URL, metrics, outbox row and outcome commit together or not at all. A crash needs no
clean-up: the rows are simply still due. A batch that fails is retried in halves until the culprit
stands alone; it backs off, and after its last attempt it is set aside as `failed`.
"""

from collections import Counter
from collections.abc import Callable, Sequence
from functools import partial
from uuid import UUID

import structlog
from sqlalchemy import Engine

from db.commands.claim import claim_due, claim_these
from db.errors import is_passing
from db.session import Connection, transaction
from db.videos import facts_and_release
from schemas.command import CommandState
from schemas.values.decision import Decision
from schemas.values.video_facts import ClaimedCommand, Names
from worker.rules.decision import after, after_failure, decide
from worker.runtime.budget import Budget

BATCH = 250
"""As large as a batch gains by; what falls due after an outage waits for the one in hand."""
MUCH = BATCH * 4 // 5
"""After a batch of this size there are probably more due commands."""

Claim = Callable[[Connection], list[ClaimedCommand]]

log: structlog.stdlib.BoundLogger = structlog.stdlib.get_logger(__name__)


class BatchFailed(Exception):
    """A batch failed because of one of its commands; the database is reachable."""

    def __init__(self, ids: Sequence[UUID], error: Exception) -> None:
        super().__init__(ids, error)
        self.ids = ids
        self.error = error


def run_due(
    engine: Engine, *, base_url: str, wake: Callable[[], None], committed: Callable[[], None]
) -> int:
    """Carry out what is due until nothing is left or the budget is used up; return how many ended.

    `committed` is called after each batch that recorded events (the relay), and when nothing was
    due: then the wake-up was perhaps for events that another process recorded. `wake` is called
    when there is probably more to do, so that other processes help.
    """
    budget = Budget()
    done = 0
    while not budget.is_spent:
        decisions = publish_batch(engine, base_url, partial(claim_due, limit=BATCH))
        done += sum(decision.finished_at is not None for decision in decisions)
        if any(decision.event for decision in decisions) or not (decisions or done):
            committed()
        if not decisions:
            return done
        if len(decisions) >= MUCH:
            wake()
    wake()
    return done


def publish_batch(engine: Engine, base_url: str, take: Claim) -> list[Decision]:
    """Carry out what `take` claims in one transaction, or in halves if one command spoils it."""
    try:
        decisions = _publish_together(engine, base_url, take)
    except BatchFailed as failure:
        if len(failure.ids) == 1:
            return _back_off(engine, failure.ids[0], failure.error)
        log.warning("batch.halved", commands=len(failure.ids), error=str(failure.error))
        middle = len(failure.ids) // 2
        return [
            decision
            for half in (failure.ids[:middle], failure.ids[middle:])
            for decision in publish_batch(engine, base_url, partial(claim_these, ids=half))
        ]
    for decision in decisions:
        _tell(decision)
    return decisions


def _publish_together(engine: Engine, base_url: str, take: Claim) -> list[Decision]:
    with transaction(engine) as tx:
        commands = take(tx)
        if not commands:
            return []
        try:
            decisions = decide_all(tx, commands, base_url)
            facts_and_release.write(tx, decisions)
        except Exception as error:
            if is_passing(error):
                raise
            # Whatever it is, a rule's bug included, only the culprit may suffer for it.
            raise BatchFailed([command.id for command in commands], error) from error
    return decisions


def decide_all(tx: Connection, commands: Sequence[ClaimedCommand], base_url: str) -> list[Decision]:
    """Decide a batch in order; what a command does to its video, the next one sees."""
    videos = facts_and_release.read_facts(tx, {c.video_id for c in commands if c.video_held})
    names = _names(tx, commands)
    asked = Counter(command.video_id for command in commands)
    decisions: list[Decision] = []
    for command in commands:
        video = videos.get(command.video_id)
        decision = decide(command, video, names, base_url)
        if video and asked[command.video_id] > 1:
            videos[command.video_id] = after(decision, video, names)
        decisions.append(decision)
    return decisions


def _names(tx: Connection, commands: Sequence[ClaimedCommand]) -> Names:
    edits = [command.edits for command in commands if command.edits]
    return facts_and_release.read_names(
        tx,
        categories={edit["category"] for edit in edits if edit.get("category")},
        subcategories={edit["subcategory"] for edit in edits if edit.get("subcategory")},
        tags={tag for edit in edits for tag in edit.get("tags", ())},
    )


def _back_off(engine: Engine, command_id: UUID, error: Exception) -> list[Decision]:
    """Put the culprit off, or set it aside after its last attempt."""
    with transaction(engine) as tx:
        decisions = [after_failure(command, error) for command in claim_these(tx, [command_id])]
        if decisions:
            facts_and_release.write(tx, decisions)
    for decision in decisions:
        log.error(
            "command.attempt_failed",
            command_id=str(decision.command_id),
            video_id=decision.video_id,
            correlation_id=decision.correlation_id,
            attempts=decision.attempts,
            state=decision.state,
            exc_info=error,
        )
    return decisions


def _tell(decision: Decision) -> None:
    known = {
        "command_id": str(decision.command_id),
        "video_id": decision.video_id,
        "correlation_id": decision.correlation_id,
        "reason": decision.reason,
    }
    if decision.finished_at is not None:
        log.info("command.settled", state=decision.state, **known)
    elif decision.state is CommandState.WAITING:
        tell = log.info if decision.checks == 1 else log.debug  # the first time is news
        tell("command.waits", until=decision.due_at.isoformat(), **known)
