"""Generation reports: hear them, one or many, and take them from the stream `video.generation`.

The stream is read as a consumer group: an entry is acknowledged once what it says is committed, so
a crash anywhere means that it is delivered again, which changes nothing
(see worker.rules.generation_merge). What makes no sense is set aside, kept for a person to look at.
"""

import os
import socket
import time
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import structlog
from psycopg import errors
from pydantic import ValidationError
from redis import Redis
from redis.exceptions import RedisError, ResponseError
from sqlalchemy import Engine

from db.errors import DATABASE_ERRORS, is_passing
from db.session import Connection, transaction
from db.videos import generation
from schemas.generation import GenerationEvent, GenerationFacts, GenerationReport, GenerationState
from worker.rules.generation_merge import Standing, hear, reason, settle, stand
from worker.runtime.quarantine import quarantine

STREAM = "video.generation"
GROUP = "publish-worker"
FIELD = "event"
BATCH = 500
BUDGET_SECONDS = 5.0
"""After this long a run hands over to the next one, so that a shutdown need not wait for ever."""
ABANDONED_MS = 30_000
"""What a consumer has had for so long without acknowledging it, another one takes over."""
DEAD_MS = 3_600_000
"""A consumer that has neither asked for so long, nor has anything in hand, is forgotten."""

# KEYS[1]: the stream. ARGV[1]: the group. ARGV[2]: how long idle, in milliseconds. Forgets
# consumers in one step: what one is given between a look and its end would be lost with it.
FORGET_DEAD = """
local forgotten = 0
for _, consumer in ipairs(redis.call('XINFO', 'CONSUMERS', KEYS[1], ARGV[1])) do
    local seen = {}
    for i = 1, #consumer, 2 do seen[consumer[i]] = consumer[i + 1] end
    if seen['pending'] == 0 and seen['idle'] >= tonumber(ARGV[2]) then
        redis.call('XGROUP', 'DELCONSUMER', KEYS[1], ARGV[1], seen['name'])
        forgotten = forgotten + 1
    end
end
return forgotten
"""

Entry = tuple[bytes, dict[bytes, bytes]]
Senseless = tuple[Entry, Exception]

log: structlog.stdlib.BoundLogger = structlog.stdlib.get_logger(__name__)


class ReportRefused(Exception):
    """The platform's own table refuses what a report would write: a check or a trigger of its."""


class NoSuchVideo(Exception):
    """A report is about a video that does not exist."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Parsed:
    """An entry of the stream that makes sense."""

    entry: Entry
    video_id: int
    report: GenerationReport


def apply(
    engine: Engine, reports: Sequence[tuple[int, GenerationReport]], workspace_id: int | None
) -> list[GenerationState | None]:
    """Hear reports, each with its video's id, in one transaction; several of one video in order.

    Returns where each one's video stands after it; None: there is no such video in the caller's
    workspace (None: in any). Raises ReportRefused if the platform's table refuses; then none was
    heard.
    """
    with _refusals(), transaction(engine) as tx:
        facts = generation.hold(tx, {video_id for video_id, _ in reports}, workspace_id)
        return _hear_all(tx, facts, reports)


def _apply_what_is_free(
    engine: Engine, reports: Sequence[tuple[int, GenerationReport]]
) -> tuple[list[GenerationState | None], set[int]]:
    """The same without waiting: return also which videos others hold, whose reports are left."""
    with _refusals(), transaction(engine) as tx:
        facts, busy = generation.hold_free(tx, {video_id for video_id, _ in reports})
        return _hear_all(tx, facts, reports), busy


def _hear_all(
    tx: Connection,
    facts: dict[int, GenerationFacts],
    reports: Sequence[tuple[int, GenerationReport]],
) -> list[GenerationState | None]:
    now = datetime.now(UTC)
    heard = _Hearing(facts)
    states = [heard.hear(video_id, _timed(report, now)) for video_id, report in reports]
    generation.write(tx, facts, heard.changed())
    applied = sum(state is not None and state.applied for state in states)
    log.info("reports.heard", reports=len(states), applied=applied)
    return states


@contextmanager
def _refusals() -> Generator[None]:
    try:
        yield
    except DATABASE_ERRORS as error:
        if _may_pass(error):
            raise
        raise ReportRefused(str(error)) from error


class _Hearing:
    """Many videos while reports of them are heard."""

    def __init__(self, facts: dict[int, GenerationFacts]) -> None:
        self.facts = facts
        self.first = {video_id: stand(row) for video_id, row in facts.items()}
        self.last = dict(self.first)

    def hear(self, video_id: int, report: GenerationReport) -> GenerationState | None:
        before = self.last.get(video_id)
        if before is None:
            return None
        after = self.last[video_id] = hear(before, report)
        return _state(video_id, before, after, report)

    def changed(self) -> list[GenerationFacts]:
        """What is to be written."""
        return [
            settle(self.facts[video_id], standing)
            for video_id, standing in self.last.items()
            if standing != self.first[video_id]
        ]


def _state(
    video_id: int, before: Standing, after: Standing, report: GenerationReport
) -> GenerationState:
    return GenerationState(
        video_id=video_id,
        applied=before != after,
        reason=reason(before, after, report),
        run=after.run,
        status=after.status,
        internal_status=after.internal_status,
        generation_progress=after.generation_progress,
        is_regenerating=after.is_regenerating,
    )


def _timed(report: GenerationReport, now: datetime) -> GenerationReport:
    return report if report.time else report.model_copy(update={"time": now})


def _may_pass(error: BaseException) -> bool:
    """Whether the same report may well succeed later: nothing is wrong with it.

    Somebody is in the way, or a column of the platform's view cannot be written (docs/adopting.md).
    """
    in_the_way = (
        errors.DeadlockDetected,
        errors.FeatureNotSupported,
        errors.LockNotAvailable,
        errors.QueryCanceled,
        errors.SerializationFailure,
    )
    return is_passing(error) or isinstance(error, in_the_way)


def take_or_later(engine: Engine, redis: Redis) -> int:
    """Take what is on the stream if Redis is there; the next sweep takes what is left."""
    try:
        return take_from_stream(engine, redis)
    except RedisError as error:
        log.warning("reports.postponed", error=str(error))
        return 0


def take_from_stream(engine: Engine, redis: Redis, *, consumer: str | None = None) -> int:
    """Take reports from the stream until none is left or the budget is used up; return how many.

    Safe to run any number of times at once. Raises what the database raises when it is away, and
    RedisError: what was not acknowledged by then is delivered again.
    """
    deadline = time.monotonic() + BUDGET_SECONDS
    taken = 0
    for entries in _batches(redis, consumer or f"{socket.gethostname()}-{os.getpid()}"):
        _take(engine, redis, entries)
        taken += len(entries)
        if time.monotonic() >= deadline:
            break
    return taken


def _batches(redis: Redis, consumer: str) -> Iterator[list[Entry]]:
    """What this consumer left undone, what others left behind, then what is new."""
    left = b"0"
    while entries := _in_group(redis, lambda left=left: _own(redis, consumer, left)):
        left = entries[-1][0]  # what is left once more, is for the next time
        yield entries
    for read in (_abandoned, _new):
        while entries := _in_group(redis, lambda read=read: read(redis, consumer)):
            yield entries


def _in_group(redis: Redis, read: Callable[[], list[Entry]]) -> list[Entry]:
    """Read; where the group is not there (yet, or after a flush), make it first."""
    try:
        return read()
    except ResponseError as error:
        if not str(error).startswith("NOGROUP"):
            raise
    _make_group(redis)
    return read()


def _make_group(redis: Redis) -> None:
    try:
        redis.xgroup_create(STREAM, GROUP, id="0", mkstream=True)
    except ResponseError as error:
        if not str(error).startswith("BUSYGROUP"):  # another process was faster
            raise


def _own(redis: Redis, consumer: str, after: bytes) -> list[Entry]:
    return entries_of(redis.xreadgroup(GROUP, consumer, {STREAM: after}, count=BATCH))


def _new(redis: Redis, consumer: str) -> list[Entry]:
    return entries_of(redis.xreadgroup(GROUP, consumer, {STREAM: ">"}, count=BATCH))


def _abandoned(redis: Redis, consumer: str) -> list[Entry]:
    """Take over what others left behind, past what has been taken off the stream meanwhile."""
    start: Any = "0-0"
    while True:
        answer: Any = redis.xautoclaim(STREAM, GROUP, consumer, ABANDONED_MS, start, count=BATCH)
        start, entries = answer[0], answer[1]
        if entries or start == b"0-0":
            return [(entry_id, fields or {}) for entry_id, fields in entries]


def entries_of(answer: Any) -> list[Entry]:
    """The entries of the one stream, whichever protocol the server speaks."""
    if not answer:
        return []
    [(_, entries)] = answer.items() if hasattr(answer, "items") else answer
    found: list[Any] = entries[0] if entries and isinstance(entries[0], list) else entries
    # One that was taken off the stream while it was pending has no fields.
    return [(entry_id, fields or {}) for entry_id, fields in found]


def _take(engine: Engine, redis: Redis, entries: Sequence[Entry]) -> None:
    """Hear what makes sense, set the rest aside, and acknowledge all of it, in this order.

    Reports on videos that somebody else holds at this moment are left for the next time.
    """
    parsed, senseless = _sort(entries)
    left: set[bytes] = set()
    try:
        unknown, left = _hear(engine, parsed)
        senseless += unknown
    except ReportRefused as error:
        if len(entries) > 1:
            for entry in entries:  # one of them is the culprit
                _take(engine, redis, [entry])
            return
        senseless = [(entries[0], error)]
    for entry, error in senseless:
        _set_aside(engine, entry, error)
    if done := [entry_id for entry_id, _ in entries if entry_id not in left]:
        redis.xack(STREAM, GROUP, *done)


def _sort(entries: Sequence[Entry]) -> tuple[list[Parsed], list[Senseless]]:
    """What can be read as a report, and what cannot."""
    parsed: list[Parsed] = []
    senseless: list[Senseless] = []
    for entry in entries:
        try:
            parsed.append(_parse(entry))
        except ValidationError as error:
            senseless.append((entry, error))
    return parsed, senseless


def _parse(entry: Entry) -> Parsed:
    """Read a CloudEvents document; ValidationError if it is none, or no report."""
    _, fields = entry
    event = GenerationEvent.model_validate_json(fields.get(FIELD.encode(), b""))
    return Parsed(entry=entry, video_id=event.video_id, report=event.report)


def _hear(engine: Engine, parsed: Sequence[Parsed]) -> tuple[list[Senseless], set[bytes]]:
    """Hear reports together; return those that are about no video, and what is left for later."""
    if not parsed:
        return [], set()
    reports = [(each.video_id, each.report) for each in parsed]
    states, busy = _apply_what_is_free(engine, reports)
    unknown: list[Senseless] = [
        (each.entry, NoSuchVideo(f"There is no video {each.video_id}."))
        for each, state in zip(parsed, states, strict=True)
        if state is None and each.video_id not in busy
    ]
    return unknown, {each.entry[0] for each in parsed if each.video_id in busy}


def _set_aside(engine: Engine, entry: Entry, error: Exception) -> None:
    entry_id, fields = entry
    if not fields:  # taken off the stream while it was pending: there is nothing to keep
        return
    body = {_text(name): _text(value) for name, value in fields.items()}
    quarantine(engine, {"stream": STREAM, "entry": _text(entry_id), "fields": body}, error)


def _text(value: bytes) -> str:
    return value.decode(errors="backslashreplace")


def trim(redis: Redis, age: timedelta) -> int:
    """Take off the stream what is older than `age` and has been read and acknowledged.

    Forgets consumers that died, too. Returns how many entries went. Entries bear the time at which
    Redis took them as their ids.
    """
    if not redis.exists(STREAM):
        return 0
    groups: Any = redis.xinfo_groups(STREAM)
    ours = next((group for group in groups if group["name"] == GROUP.encode()), None)
    if ours is None:
        return 0
    redis.register_script(FORGET_DEAD)(keys=[STREAM], args=[GROUP, DEAD_MS])
    pending: Any = redis.xpending(STREAM, GROUP)
    bounds = [_before(redis, age), ours["last-delivered-id"]]
    if pending["min"]:
        bounds.append(pending["min"])
    return int(redis.xtrim(STREAM, minid=min(bounds, key=_number), approximate=False))


def _before(redis: Redis, age: timedelta) -> bytes:
    """The id that an entry of this age would have, by the clock of Redis."""
    now: Any = redis.time()
    return b"%d-0" % max(0, now[0] * 1000 - round(age.total_seconds() * 1000))


def _number(entry_id: bytes) -> tuple[int, int]:
    milliseconds, sequence = entry_id.split(b"-")
    return int(milliseconds), int(sequence)
