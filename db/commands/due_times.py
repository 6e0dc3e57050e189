"""The schedule: what falls due next, and word of what falls due sooner (LISTEN and NOTIFY)."""

import os
import socket
from collections.abc import Generator, Iterable
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from math import isfinite
from typing import Any

from psycopg import OperationalError
from sqlalchemy import Engine

from db.session import Connection

CHANNEL = "publisher_due"
"""Also known to the function that the trigger on videos calls (publisher_0002)."""
HORIZON = timedelta(seconds=3)
"""How far ahead the schedule is read, each second; only what falls due sooner needs a word."""

# The next times at which commands fall due, and the clock that they go by. Of times within five
# milliseconds the last one counts: one wake-up is for all of them.
UPCOMING = """
SELECT extract(epoch FROM clock_timestamp())::float8,
       array(
           SELECT max(extract(epoch FROM due_at)::float8) FROM publisher.publish_command
           WHERE state IN ('scheduled', 'waiting')
             AND due_at > now() AND due_at <= now() + %(horizon)s
           GROUP BY floor(extract(epoch FROM due_at) * 200)
           ORDER BY 1
       )
"""

# When the next command falls due that is not due yet.
NEXT_DUE = """
SELECT min(due_at) FROM publisher.publish_command
WHERE state IN ('scheduled', 'waiting') AND due_at > now() AND trigger <> 'canary'
"""

# Whether a trigger on the platform's videos calls our function.
HAS_GENERATION_TRIGGER = """
SELECT EXISTS (SELECT FROM pg_trigger WHERE tgfoid = 'publisher.video_changed'::regproc)
"""

# Notify of a due time (seconds since 1970) within the horizon; sent when the transaction commits.
NOTIFY_DUE = """
SELECT pg_notify(%(channel)s, extract(epoch FROM %(due_at)s::timestamptz)::text)
WHERE %(due_at)s <= clock_timestamp() + %(horizon)s
"""

LISTEN = f"LISTEN {CHANNEL}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Upcoming:
    """The times at which commands fall due, soonest first, in seconds since 1970."""

    now: float
    """The database's clock as this was read."""
    due: list[float]


def notify_due(tx: Connection, due: Iterable[datetime]) -> None:
    """Notify the schedulers of the soonest of these times, if it is within their horizon."""
    soonest = min(due, default=None)
    if soonest is not None:
        tx.execute(NOTIFY_DUE, {"channel": CHANNEL, "due_at": soonest, "horizon": HORIZON})


@contextmanager
def listening(engine: Engine) -> Generator[Connection]:
    """Open a separate connection that receives notifications of due times."""
    pooled = engine.raw_connection()
    driver: Any = pooled.driver_connection
    pooled.detach()
    try:
        driver.autocommit = True
        driver.execute(LISTEN)
        yield driver
    finally:
        driver.close()


def upcoming(connection: Connection) -> Upcoming:
    """Read what falls due within the horizon."""
    row = connection.execute(UPCOMING, {"horizon": HORIZON}).fetchone()
    now, due = row or (0.0, [])
    return Upcoming(now=now, due=due)


def next_due(tx: Connection) -> datetime | None:
    """When the next command falls due that is not due yet."""
    row = tx.execute(NEXT_DUE).fetchone()
    return row[0] if row else None


def has_generation_trigger(tx: Connection) -> bool:
    """Whether the end of generation makes waiting commands due at once."""
    row = tx.execute(HAS_GENERATION_TRIGGER).fetchone()
    return bool(row and row[0])


def wait_for_notification(connection: Connection, seconds: float) -> list[float | None]:
    """Wait at most `seconds` for a due time in seconds since 1970; None in the list means now."""
    return [
        _to_time(notice.payload) for notice in connection.notifies(timeout=seconds, stop_after=1)
    ]


def cut_off(connection: Connection) -> None:
    """Break a connection off that another thread waits at: that thread gets an error at once."""
    with (
        suppress(OSError, OperationalError),
        socket.socket(fileno=os.dup(connection.fileno())) as s,
    ):
        s.shutdown(socket.SHUT_RDWR)


def _to_time(payload: str) -> float | None:
    """Parse a payload. Any client can notify; a payload that is not a time means now."""
    with suppress(ValueError):
        return float(payload) if isfinite(float(payload)) else None
    return None
