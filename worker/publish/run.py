"""Publish: carry out the commands that are due, a batch in one transaction.

Claim, flip, URL, metrics, outbox row and outcome commit together or not at all. A crash needs no
clean-up: the rows are still due. A batch that fails is bisected until the failing command is alone;
it backs off, and after its last attempt it is `failed`; each attempt keeps its error.
"""

import logging
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from functools import partial
from itertools import pairwise
from typing import Any
from uuid import UUID

import structlog
from sqlalchemy import Engine

from db.commands import attempts
from db.commands.claim import NextClaim, claim_due, claim_these
from db.errors import is_passing
from db.events.outbox import Recorded
from db.session import Connection, forget_plans, transaction
from db.videos import facts_and_release
from publish_worker_client.servers.database_errors import describe_error
from schemas.command import CommandState
from schemas.values.decision import Decision
from schemas.values.video_facts import ClaimedCommand, Names
from worker.publish.batch_metrics import BatchClock, record_batch, record_failed_attempt
from worker.publish.spans import BatchSpans, trace_batch
from worker.rules.command_events import build_announcements
from worker.rules.decision import BaseUrls, apply_decision, ask_once, decide, decide_after_failure
from worker.runtime.budget import Budget

BATCH = 250
"""Larger batches gain nothing; what falls due after an outage waits for the current one."""
NEARLY_FULL = BATCH * 4 // 5
"""A batch of this size probably leaves more due commands: a batch limits how many are late."""

SLOW_SECONDS = 0.5
"""A batch that takes longer has probably plans of a time when the tables were small."""

MOST_FAILED = 10
"""Failing commands of one batch. Then other workspaces have their turn."""

Claim = Callable[[Connection], list[ClaimedCommand]]


def _drop(_: Recorded) -> None:
    """Leave the events to another relay."""


log: structlog.typing.FilteringBoundLogger = structlog.get_logger(__name__)


class BatchFailed(Exception):
    """A batch failed, and the database is reachable: one of its commands is the cause."""

    def __init__(self, commands: Sequence[ClaimedCommand], error: Exception) -> None:
        super().__init__(commands, error)
        self.commands = commands
        self.error = error


def run_due(
    engine: Engine,
    *,
    base_url: str,
    media_base_url: str | None = None,
    wake: Callable[[], None],
    committed: Callable[[Recorded | None], None],
    start: NextClaim | None = None,
) -> int:
    """Carry out due commands until none is left or the budget is spent; return how many ended.

    `committed` is called with the events of each transaction that recorded some, and with None if
    nothing was due (another process may have recorded events): it relays. `wake` is called if there
    is probably more to do, so that other processes help. `start` is this process's.
    """
    budget, start = Budget(), start or NextClaim()
    done = 0
    while not budget.is_spent:
        urls = (base_url, media_base_url)
        take = partial(claim_due, limit=BATCH, start=start)
        decisions = publish_batch(engine, urls, take, committed)
        done += sum(decision.finished_at is not None for decision in decisions)
        if not (decisions or done):
            committed(None)
        if not decisions:
            return done
        if len(decisions) >= NEARLY_FULL:
            wake()
    wake()
    return done


def publish_batch(
    engine: Engine, base_urls: BaseUrls, take: Claim, committed: Callable[[Recorded], None] = _drop
) -> list[Decision]:
    """Carry out what `take` claims in one transaction; bisect the batch if a command fails.

    `committed` is called with the events of each transaction. After a few failing commands the rest
    stays due, to be claimed with what is due by then.
    """
    decisions: list[Decision] = []
    parts, failed = [take], 0
    while parts and failed < MOST_FAILED:
        try:
            done = _publish_together(engine, base_urls, parts.pop(), committed)
        except BatchFailed as failure:
            if len(failure.commands) > 1:
                log.warning(
                    "batch.bisected", commands=len(failure.commands), error=str(failure.error)
                )
                parts += [partial(claim_these, ids=ids) for ids in _bisect(failure.commands)]
                continue
            done = _decide_failed_attempt(engine, failure.commands[0].id, failure.error, committed)
            failed += 1
        decisions += done
    return decisions


def _publish_together(
    engine: Engine, base_urls: BaseUrls, take: Claim, committed: Callable[[Recorded], None]
) -> list[Decision]:
    if (spans := trace_batch()) is None:
        return _commit_batch(engine, base_urls, take, committed, None)
    with spans:
        return _commit_batch(engine, base_urls, take, committed, spans)


def _commit_batch(
    engine: Engine,
    base_urls: BaseUrls,
    take: Claim,
    committed: Callable[[Recorded], None],
    spans: BatchSpans | None,
) -> list[Decision]:
    clock = BatchClock()
    with transaction(engine) as tx:
        commands = take(tx)
        if not commands:
            return []
        clock.note_claim()
        if spans is not None:
            spans.open(commands)
        try:
            decisions = decide_all(tx, commands, base_urls)
            recorded = facts_and_release.write(tx, decisions, build_announcements(commands))
        except Exception as error:
            if is_passing(error):
                raise
            # Any error, a bug in a rule included, must affect only the command that causes it.
            raise BatchFailed(commands, error) from error
        seconds = time.monotonic() - clock.started
        if seconds > SLOW_SECONDS:
            forget_plans(tx)
    record_batch(commands, decisions, clock)
    if spans is not None:
        spans.close(decisions)
    _log_batch(decisions, seconds)
    if recorded:
        committed(recorded)
    return decisions


def _bisect(commands: Sequence[ClaimedCommand]) -> tuple[list[UUID], list[UUID]]:
    """Divide a batch, between two workspaces if possible: one must not wait for another's failures.

    The part to carry out first is the last one: workspaces with few commands. The order within a
    workspace stays.
    """
    sizes = Counter(command.workspace_id for command in commands)
    ordered = sorted(commands, key=lambda each: (sizes[each.workspace_id], each.workspace_id))
    middle = len(ordered) // 2
    borders = [
        n for n, (a, b) in enumerate(pairwise(ordered), 1) if a.workspace_id != b.workspace_id
    ]
    cut = min(borders, key=lambda n: abs(n - middle), default=middle)
    ids = [command.id for command in ordered]
    return ids[cut:], ids[:cut]


def decide_all(
    tx: Connection, commands: Sequence[ClaimedCommand], base_urls: BaseUrls
) -> list[Decision]:
    """Decide a batch in order. A command sees what the ones before it do to its video."""
    videos = facts_and_release.read_facts(tx, {c.video_id for c in commands if c.video_held})
    names = read_names(tx, [command.edits for command in commands if command.edits])
    commands_of = Counter(command.video_id for command in commands)
    decisions: list[Decision] = []
    for command in commands:
        video = videos.get(command.video_id)
        decision = decide(command, video, names, *base_urls)
        if video and commands_of[command.video_id] > 1:
            videos[command.video_id] = apply_decision(decision, video, names)
        decisions.append(decision)
    return ask_once(decisions)


def read_names(tx: Connection, edits: Sequence[Mapping[str, Any]]) -> Names:
    """Read the names of the categories, subcategories and tags in these edits."""
    return facts_and_release.read_names(
        tx,
        categories={edit["category"] for edit in edits if edit.get("category")},
        subcategories={edit["subcategory"] for edit in edits if edit.get("subcategory")},
        tags={tag for edit in edits for tag in edit.get("tags", ())},
    )


def _decide_failed_attempt(
    engine: Engine, command_id: UUID, error: Exception, committed: Callable[[Recorded], None]
) -> list[Decision]:
    """Postpone a failing command, or end it as `failed` after its last attempt."""
    recorded, described = None, describe_error(error)
    spans = trace_batch()
    with spans or nullcontext(), transaction(engine) as tx:
        commands = claim_these(tx, [command_id])
        if spans is not None:
            spans.open(commands)
        decisions = [decide_after_failure(each, described) for each in commands]
        if decisions:
            attempts.insert(tx, decisions, described)
            recorded = facts_and_release.write(tx, decisions, build_announcements(commands))
    record_failed_attempt(commands, decisions)
    if spans is not None:
        spans.close(decisions, error)
    if recorded:
        committed(recorded)
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


def _log_batch(decisions: Sequence[Decision], seconds: float) -> None:
    """Log how many commands were published, and each other outcome in a line of its own."""
    published = [each for each in decisions if each.state is CommandState.PUBLISHED]
    if published:
        latest = min(published, key=lambda each: each.fell_due_at or each.due_at)
        due_since, ended = latest.fell_due_at or latest.due_at, latest.finished_at or latest.due_at
        log.info(
            "batch.published",
            commands=len(published),
            ms=round(1000 * seconds, 1),
            latest_ms=round(1000 * (ended - due_since).total_seconds(), 1),
            latest_command_id=str(latest.command_id),
        )
    is_debug = log.is_enabled_for(logging.DEBUG)
    for decision in decisions:
        if is_debug or decision.state is not CommandState.PUBLISHED:
            log_outcome(decision)


def log_outcome(decision: Decision) -> None:
    """Log what became of a command: at level debug if it was published.

    That it still waits, only the first time.
    """
    known = {
        "command_id": str(decision.command_id),
        "video_id": decision.video_id,
        "correlation_id": decision.correlation_id,
        "reason": decision.reason,
    }
    if decision.finished_at is not None:
        write = log.debug if decision.state is CommandState.PUBLISHED else log.info
        write("command.ended", state=decision.state, **known)
    elif decision.state is CommandState.WAITING:
        write = log.info if decision.checks == 1 else log.debug
        write("command.waits", until=decision.due_at.isoformat(), **known)
