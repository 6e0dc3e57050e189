"""Status: health and the sizes of inbox, outbox and stream; for people at a terminal."""

from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime

from redis import Redis
from redis.exceptions import RedisError
from sqlalchemy import Engine

from db.commands import due_times, inbox
from db.errors import DATABASE_ERRORS
from db.processes import SeenProcess
from db.session import transaction
from publish_worker_client.events.outbox import read_ends
from worker.events.redis_stream import read_stream_end
from worker.operations.checks import Check
from worker.operations.health import read_health


@dataclass(frozen=True, kw_only=True)
class Status:
    """A survey; a value is None where the part that knows it is unreachable."""

    checks: list[Check]
    processes: list[SeenProcess] | None
    """Those that are alive, or went within the last hour without shutting down."""
    commands: dict[str, int] | None
    """How many are in each state."""
    due: int | None
    oldest_due_seconds: float | None
    """How long the oldest due command has been waiting; None also when none is due."""
    next_due_at: datetime | None
    """When the next command falls due that is not due yet; None also when there is none."""
    has_generation_trigger: bool | None
    """Whether a trigger on the platform's videos makes waiting commands due; without it they are
    checked again each minute (docs/adopting.md)."""
    position: int | None
    """The last position given to an event."""
    stream_position: int | None
    """The last position on the stream; less than `position` while there is an event to relay."""
    quarantined_messages: int | None

    @property
    def healthy(self) -> bool:
        """Whether every part of the path works."""
        return all(check.ok for check in self.checks)


def survey(
    engine: Engine,
    redis: Redis,
    broker_url: str,
    canary_video_id: int | None = None,
    *,
    amqp_url: str | None = None,
) -> Status:
    """Check and count everything, which reads every command once. `read_health` checks alone.

    An unreachable part is reported, not raised.
    """
    health = read_health(engine, redis, broker_url, canary_video_id, amqp_url=amqp_url)
    counts, next_due, has_trigger, position, quarantined = None, None, None, None, None
    with suppress(*DATABASE_ERRORS):
        if not health.is_away("database"):  # a server that hangs is waited for once
            with transaction(engine) as tx:
                counts = inbox.count(tx)
                next_due = due_times.read_next_due(tx)
                has_trigger = due_times.has_generation_trigger(tx)
                position, _ = read_ends(tx)
                quarantined = inbox.count_quarantined(tx)
    return Status(
        checks=health.checks,
        processes=health.processes,
        commands={each.state.value: each.count for each in counts} if counts is not None else None,
        due=sum(each.due for each in counts) if counts is not None else None,
        oldest_due_seconds=max((each.oldest_due_seconds or 0 for each in counts or ()), default=0)
        or None,
        next_due_at=next_due,
        has_generation_trigger=has_trigger,
        position=position,
        stream_position=None if health.is_away("redis") else _stream_position(redis),
        quarantined_messages=quarantined,
    )


def _stream_position(redis: Redis) -> int | None:
    try:
        return read_stream_end(redis).position
    except RedisError:
        return None
