"""Time zones: recompute the instants of scheduled commands when a zone's rules have changed.

Governments change clocks at short notice. A command with a wall-clock time keeps that time; its
instant moves when the time-zone data of this machine is updated.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import structlog
from sqlalchemy import Engine

from db import audit_log
from db.commands import changes, claim
from db.commands.changes import Timing
from db.session import transaction
from publish_worker_client.events.names import Trigger
from schemas.audit import AuditAction
from schemas.values.actor import SYSTEM, Actor, AuditRecord
from schemas.values.video_facts import ClaimedCommand
from worker.enqueue.rescheduling import write_timings
from worker.rules.local_time import find_tzdata_release, get_zone_digest, recompute_instant
from worker.runtime.budget import Budget

BATCH = 500
"""Commands that one transaction recomputes."""

log: structlog.stdlib.BoundLogger = structlog.stdlib.get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class MovedCommand:
    """A command whose instant is another one now."""

    command_id: UUID
    video_id: int
    time_zone: str
    local_time: datetime
    before: datetime
    after: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class RecomputeResult:
    """The result of a run."""

    moved: list[MovedCommand]
    finished: bool
    """Whether nothing outdated is left."""


def recompute_instants(
    engine: Engine, seconds: float | None = None, by: Actor = SYSTEM
) -> RecomputeResult:
    """Recompute the instants of outdated commands, for at most `seconds` (None: all).

    Each command that moves has a `video.publish_rescheduled` event. What an operator asked for is
    in the audit log, too. An instant that was computed by
    a later release of the time-zone data than this machine has is kept. Safe to run at any time.
    """
    ZoneInfo.clear_cache()  # this process may have read the rules before they were updated
    get_zone_digest.cache_clear()
    budget = Budget(seconds)
    moved: list[MovedCommand] = []
    for zone, digest in _find_outdated(engine):
        for batch in _recompute_batches(engine, zone, digest, by):
            moved += batch
            if budget.is_spent:
                return RecomputeResult(moved=moved, finished=False)
    return RecomputeResult(moved=moved, finished=True)


def _find_outdated(engine: Engine) -> list[tuple[str, str]]:
    """Return zones with digests of other rules than this machine has, unless those are newer."""
    with transaction(engine) as tx:
        known = claim.read_zones(tx)
    return sorted((zone, digest) for zone, digest in known if _is_outdated(zone, digest))


def _is_outdated(zone: str, digest: str) -> bool:
    """Whether this machine has other rules, of the same release or a later one."""
    try:
        here = get_zone_digest(zone)
    except (ZoneInfoNotFoundError, FileNotFoundError, ModuleNotFoundError):
        log.warning("zone.unknown", time_zone=zone, consequence="its commands keep their instants")
        return False
    return digest != here and find_tzdata_release(digest) <= find_tzdata_release(here)


def _recompute_batches(
    engine: Engine, zone: str, digest: str, by: Actor
) -> Iterator[list[MovedCommand]]:
    while True:
        with transaction(engine) as tx:
            commands = claim.lock_outdated(tx, zone, digest, BATCH)
            pairs = [(command, _to_timing(command, zone)) for command in commands]
            changes.reschedule(tx, [t for c, t in pairs if c.asked_for == t.asked_for])
            changed = [(c, t) for c, t in pairs if c.asked_for != t.asked_for]
            write_timings(tx, changed, Trigger.SCHEDULE)
            if changed and by is not SYSTEM:
                audit_log.append(tx, [_to_record(zone, len(changed), by)])
        moved = [_to_moved_command(command, timing) for command, timing in changed]
        for each in moved:
            log.info(
                "command.moved",
                command_id=str(each.command_id),
                video_id=each.video_id,
                time_zone=each.time_zone,
                before=each.before.isoformat(),
                after=each.after.isoformat(),
            )
        yield moved
        if len(commands) < BATCH:
            return


def _to_record(zone: str, count: int, by: Actor) -> AuditRecord:
    details = {"time_zone": zone, "commands": count}
    return AuditRecord(actor=by, action=AuditAction.COMMAND_RECOMPUTE, details=details)


def _to_timing(command: ClaimedCommand, zone: str) -> Timing:
    local = command.local_time or command.due_at
    at = recompute_instant(local, zone, command.fold)
    return Timing(
        id=command.id,
        asked_for=at,
        local_time=command.local_time,
        time_zone=zone,
        fold=command.fold,
        zone_digest=get_zone_digest(zone),
        due_at=max(at, command.now) if at != command.asked_for else command.due_at,
        changes_time=at != command.asked_for,
        publish_before=command.publish_before,
    )


def _to_moved_command(command: ClaimedCommand, timing: Timing) -> MovedCommand:
    return MovedCommand(
        command_id=command.id,
        video_id=command.video_id,
        time_zone=timing.time_zone or "",
        local_time=timing.local_time or timing.due_at,
        before=command.asked_for or command.due_at,
        after=timing.asked_for or timing.due_at,
    )
