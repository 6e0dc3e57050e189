"""Zones: compute the instants of scheduled commands anew once a zone's rules have changed.

Governments change clocks at short notice. A command that was told a wall-clock time keeps that
time; when the time-zone data of this machine is updated, its instant moves.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import structlog
from sqlalchemy import Engine

from db import inbox
from db.inbox import Timing
from db.session import transaction
from schemas.command import Trigger
from schemas.facts import ClaimedCommand
from worker.reschedule import write_timings
from worker.timing import cached_digest, instant_anyway

BATCH = 500
"""Commands that one transaction computes anew."""

log: structlog.stdlib.BoundLogger = structlog.stdlib.get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Moved:
    """A command whose instant is another one now."""

    command_id: UUID
    video_id: int
    time_zone: str
    local_time: datetime
    before: datetime
    after: datetime


def recompute(engine: Engine) -> list[Moved]:
    """Compute the instants of every outdated command anew; return those that moved.

    Each that moved has its `video.publish_rescheduled` event. Safe to run at any time and twice.
    """
    ZoneInfo.clear_cache()  # this process may have read the rules before they were updated
    cached_digest.cache_clear()
    moved: list[Moved] = []
    for zone in _outdated(engine):
        for batch in _batches(engine, zone):
            moved += batch
    for each in moved:
        log.info(
            "command.moved",
            command_id=str(each.command_id),
            video_id=each.video_id,
            time_zone=each.time_zone,
            before=each.before.isoformat(),
            after=each.after.isoformat(),
        )
    return moved


def _outdated(engine: Engine) -> list[str]:
    with transaction(engine) as tx:
        known = inbox.zones(tx)
    return sorted({zone for zone, digest in known if digest != _digest(zone)} - {""})


def _digest(zone: str) -> str | None:
    """Of the zone's rules on this machine; a zone that it does not know stays as it was."""
    try:
        return cached_digest(zone)
    except (ZoneInfoNotFoundError, FileNotFoundError, ModuleNotFoundError):
        log.warning("zone.unknown", time_zone=zone, consequence="its commands keep their instants")
        return None


def _batches(engine: Engine, zone: str) -> Iterator[list[Moved]]:
    digest = _digest(zone)
    while digest is not None:
        with transaction(engine) as tx:
            commands = inbox.hold_outdated(tx, zone, digest, BATCH)
            timings = [_timing(command, zone, digest) for command in commands]
            pairs = list(zip(commands, timings, strict=True))
            inbox.reschedule(tx, [t for c, t in pairs if c.asked_for == t.asked_for])
            changed = [(c, t) for c, t in pairs if c.asked_for != t.asked_for]
            write_timings(tx, changed, Trigger.SCHEDULE)
        yield [_moved(command, timing) for command, timing in changed]
        if len(commands) < BATCH:
            return


def _timing(command: ClaimedCommand, zone: str, digest: str) -> Timing:
    local = command.local_time or command.due_at
    at = instant_anyway(local, zone, command.fold)
    return Timing(
        id=command.id,
        asked_for=at,
        local_time=command.local_time,
        time_zone=zone,
        fold=command.fold,
        zone_digest=digest,
        due_at=max(at, command.now) if at != command.asked_for else command.due_at,
        publish_before=command.publish_before,
    )


def _moved(command: ClaimedCommand, timing: Timing) -> Moved:
    return Moved(
        command_id=command.id,
        video_id=command.video_id,
        time_zone=timing.time_zone or "",
        local_time=timing.local_time or timing.due_at,
        before=command.asked_for or command.due_at,
        after=timing.asked_for or timing.due_at,
    )
