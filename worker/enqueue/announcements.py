"""Announcements: the first event of a command that was enqueued in SQL for a later time.

The caller's transaction may be long, so it never locks the counter of positions, as an event would
(docs/adr/0033). A worker records the event right after the commit; a batch, a caller that cancels
and one that reschedules record it themselves if they come first.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from zoneinfo import ZoneInfoNotFoundError

import structlog
from sqlalchemy import Engine

from db.commands import changes, claim, due_times
from db.commands.changes import Timing
from db.events import outbox
from db.events.outbox import Recorded
from db.session import transaction
from schemas.values.video_facts import ClaimedCommand
from worker.rules.command_events import build_announcements
from worker.rules.local_time import get_zone_digest, recompute_instant
from worker.runtime.budget import Budget

BATCH = 500
"""Commands that one transaction announces."""

log: structlog.stdlib.BoundLogger = structlog.stdlib.get_logger(__name__)


def announce(engine: Engine, committed: Callable[[Recorded], None]) -> int:
    """Record that commands are scheduled, until none is left or the budget is spent.

    Their local times are computed again with this machine's time-zone data, as those of other
    commands were. `committed` is called with the events of each transaction. Returns how many
    commands were announced. Safe to run in several processes.
    """
    budget, done = Budget(), 0
    while not budget.is_spent:
        announced, recorded = _announce_batch(engine)
        if recorded:
            log.info("commands.announced", commands=announced)
            committed(recorded)
        done += announced
        if announced < BATCH:
            break
    return done


def _announce_batch(engine: Engine) -> tuple[int, Recorded | None]:
    with transaction(engine) as tx:
        commands = claim.lock_unannounced(tx, BATCH)
        if not commands:
            return 0, None
        timings = [_to_timing(command) for command in commands]
        with tx.pipeline():
            changes.announce(tx, timings)
            due_times.notify_due(tx, [timing.due_at for timing in timings])
        recorded = outbox.append(tx, build_announcements(_apply(commands, timings)))
    return len(commands), recorded


def _apply(commands: Sequence[ClaimedCommand], timings: Sequence[Timing]) -> list[ClaimedCommand]:
    return [
        command
        if command.asked_for == timing.asked_for
        else replace(command, asked_for=timing.asked_for, due_at=timing.due_at)
        for command, timing in zip(commands, timings, strict=True)
    ]


def _to_timing(command: ClaimedCommand) -> Timing:
    at, digest = command.asked_for, None
    if command.local_time is not None and command.time_zone is not None:
        try:
            at = recompute_instant(command.local_time, command.time_zone, command.fold)
            digest = get_zone_digest(command.time_zone)
        except (ZoneInfoNotFoundError, FileNotFoundError, ModuleNotFoundError):
            log.warning(
                "zone.unknown",
                time_zone=command.time_zone,
                consequence="the command keeps the instant that PostgreSQL computed",
            )
    return Timing(
        id=command.id,
        asked_for=at,
        local_time=command.local_time,
        time_zone=command.time_zone,
        fold=command.fold,
        zone_digest=digest,
        due_at=command.due_at if at == command.asked_for or at is None else max(at, command.now),
        changes_time=at != command.asked_for,
        publish_before=command.publish_before,
    )
