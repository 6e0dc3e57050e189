"""The metrics of a batch: a few operations for each batch, not for each command."""

import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime

from publish_worker_client.events.names import Trigger
from schemas.command import CommandState
from schemas.values.decision import Decision
from schemas.values.video_facts import ClaimedCommand
from worker.runtime.metrics import get_metrics

CARRIED_OUT = frozenset(
    (
        CommandState.PUBLISHED,
        CommandState.UNPUBLISHED,
        CommandState.UNCHANGED,
        CommandState.REJECTED,
    )
)
"""Outcomes whose lateness counts, as in db/commands/punctuality.py."""


@dataclass(slots=True)
class BatchClock:
    """When a batch began, and when its commands had been claimed, by `time.monotonic()`."""

    started: float = field(default_factory=time.monotonic)
    claimed: float = 0.0

    def note_claim(self) -> None:
        """Note that the commands have been claimed."""
        self.claimed = time.monotonic()


def record_batch(
    commands: Sequence[ClaimedCommand], decisions: Sequence[Decision], clock: BatchClock
) -> None:
    """Count what a batch did. It has been committed; the decisions are those of the commands."""
    now, metrics = time.monotonic(), get_metrics()
    metrics.batch_commands.observe(len(commands))
    metrics.batch_duration.observe(now - clock.started)
    ended = record_outcomes(commands, decisions)
    since_claim = now - clock.claimed
    metrics.lateness.observe_many(
        [
            (command.now - (command.fell_due_at or command.due_at)).total_seconds() + since_claim
            for command, decision in ended
            if decision.state in CARRIED_OUT
        ]
    )
    metrics.generation_wait.observe_many(
        [
            (command.now - _asked_for(command)).total_seconds() + since_claim
            for command, _ in ended
            if command.state == CommandState.WAITING
        ]
    )


def record_failed_attempt(
    commands: Sequence[ClaimedCommand], decisions: Sequence[Decision]
) -> None:
    """Count the failed attempt at a command, and its end if that was the last one."""
    get_metrics().failed_attempts.inc(len(commands))
    record_outcomes(commands, decisions)


def record_outcomes(
    commands: Sequence[ClaimedCommand], decisions: Sequence[Decision]
) -> list[tuple[ClaimedCommand, Decision]]:
    """Count the commands that ended, and return them; the canary's are left out."""
    ended = [
        (command, decision)
        for command, decision in zip(commands, decisions, strict=True)
        if decision.finished_at is not None and command.trigger != Trigger.CANARY
    ]
    outcomes = Counter((command.action, decision.state) for command, decision in ended)
    for (action, outcome), count in outcomes.items():
        get_metrics().commands.labels(action, outcome).inc(count)
    return ended


def _asked_for(command: ClaimedCommand) -> datetime:
    return max(command.accepted_at, command.asked_for or command.accepted_at)
