"""Take generation reports from the Redis stream `video.generation`.

An entry is acknowledged once its report is committed. After a crash it is delivered again, which
changes nothing (worker.rules.generation_merge). An entry that cannot be applied is quarantined.
"""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import structlog
from redis import Redis
from redis.exceptions import RedisError
from sqlalchemy import Engine

from schemas.generation import GenerationEvent, GenerationReport
from worker.generation.apply import ReportRefused, apply_available
from worker.runtime.budget import RUN_SECONDS, Budget
from worker.runtime.quarantine import quarantine
from worker.runtime.redis_streams import ConsumerGroup, RawEntry

STREAM = "video.generation"
GROUP = "publish-worker"
FIELD = "event"
BATCH = 500
"""Entries that one transaction applies."""

CLOCKS_DIFFER = timedelta(minutes=1)
"""How far Redis's clock may be ahead of ours."""

Rejected = tuple[RawEntry, Exception]
"""An entry that cannot be applied, and why."""

log: structlog.stdlib.BoundLogger = structlog.stdlib.get_logger(__name__)


class ReportedVideoMissing(Exception):
    """A report is about a video that does not exist."""


def open_group(redis: Redis, consumer: str | None = None) -> ConsumerGroup:
    """Return this process's consumer of the stream."""
    return ConsumerGroup(redis, STREAM, GROUP, consumer)


def take_or_postpone(engine: Engine, redis: Redis) -> int:
    """Take reports; if Redis is unreachable log that, and leave the rest to the next sweep."""
    try:
        return take_reports(engine, open_group(redis))
    except RedisError as error:
        log.warning("reports.postponed", error=str(error))
        return 0


def take_reports(engine: Engine, group: ConsumerGroup, seconds: float = RUN_SECONDS) -> int:
    """Apply reports until none is left or the `seconds` are over; return the number of entries.

    Any number of consumers may run at once. Raises RedisError and database errors; an entry that
    was not acknowledged by then is delivered again.
    """
    budget = Budget(seconds)
    taken = 0
    for entries in group.read_batches(BATCH):
        _take_batch(engine, group, entries)
        taken += len(entries)
        if budget.is_spent:
            break
    return taken


def _take_batch(engine: Engine, group: ConsumerGroup, entries: Sequence[RawEntry]) -> None:
    """Apply, quarantine, acknowledge, in this order.

    A report whose video is locked by another transaction stays pending for the next run.
    """
    busy: set[bytes] = set()
    try:
        rejected, busy = _apply_entries(engine, entries)
    except ReportRefused as error:
        if len(entries) > 1:
            for entry in entries:  # one of them is the culprit
                _take_batch(engine, group, [entry])
            return
        rejected = [(entries[0], error)]
    for entry, error in rejected:
        _quarantine(engine, entry, error)
    group.acknowledge(entry_id for entry_id, _ in entries if entry_id not in busy)


def _apply_entries(
    engine: Engine, entries: Sequence[RawEntry]
) -> tuple[list[Rejected], set[bytes]]:
    """Return the entries that cannot be applied, and the IDs of those whose video is locked."""
    reports: list[tuple[RawEntry, int, GenerationReport]] = []
    rejected: list[Rejected] = []
    for entry in entries:
        try:
            event = GenerationEvent.model_validate_json(entry[1].get(FIELD.encode(), b""))
            received_at = None if event.time else _received_at(entry)
            reports.append((entry, event.video_id, event.to_report(received_at)))
        except ValueError as error:  # ValidationError is one
            rejected.append((entry, error))
    if not reports:
        return rejected, set()
    states, busy = apply_available(engine, [report[1:] for report in reports])
    rejected += [
        (entry, ReportedVideoMissing(f"There is no video {video_id}."))
        for (entry, video_id, _), state in zip(reports, states, strict=True)
        if state is None and video_id not in busy
    ]
    return rejected, {entry[0] for entry, video_id, _ in reports if video_id in busy}


def _received_at(entry: RawEntry) -> datetime:
    """Return when Redis received an entry: its ID says so, also when it is delivered again.

    Default: now, for an ID in the future. A producer may choose one, and all later IDs follow it.
    """
    now = datetime.now(UTC)
    try:
        received_at = datetime.fromtimestamp(int(entry[0].partition(b"-")[0]) / 1_000, UTC)
    except (OverflowError, OSError, ValueError):
        return now
    return received_at if received_at < now + CLOCKS_DIFFER else now


def _quarantine(engine: Engine, entry: RawEntry, error: Exception) -> None:
    entry_id, fields = entry
    if fields:  # else it was removed from the stream while it was pending
        body = {_to_text(name): _to_text(value) for name, value in fields.items()}
        quarantine(engine, {"stream": STREAM, "entry": _to_text(entry_id), "fields": body}, error)


def _to_text(value: bytes) -> str:
    return value.decode(errors="backslashreplace")
