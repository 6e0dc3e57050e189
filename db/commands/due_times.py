"""Due times in SQL: read the next ones, and notify of earlier ones (LISTEN and NOTIFY)."""

import os
import socket
from collections.abc import Generator, Iterable
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from math import isfinite
from typing import Any, Final, Literal

from psycopg import OperationalError
from sqlalchemy import Engine

from db.session import Connection, is_through_pooler

CHANNEL = "publisher_due"
"""db/tables/triggers.py notifies this channel too, with an empty payload: now."""
ANNOUNCE: Final = "announce"
"""The payload that says that a command of a later time was enqueued in SQL."""
Now = Literal["announce"] | None
"""`ANNOUNCE`, or None: commands are due now."""
Notified = float | Now
"""A due time in seconds since 1970, or what is to be done now."""
HORIZON = timedelta(seconds=3)
"""Due times are read this far ahead, each second; only earlier ones need a notification."""

# The database's clock, the next due times, and those that have passed since the reading before: a
# transaction notifies of its earliest time, and another may pass before it is read. Of due times
# within five milliseconds only the last one is read: one wake-up serves all of them.
UPCOMING = """
SELECT extract(epoch FROM clock_timestamp())::float8,
       array(
           SELECT max(extract(epoch FROM due_at)::float8) FROM publisher.publish_command
           WHERE state IN ('scheduled', 'waiting')
             AND due_at > greatest(to_timestamp(%(since)s::float8), now() - %(horizon)s)
             AND due_at <= now() + %(horizon)s
           GROUP BY floor(extract(epoch FROM due_at) * 200)
           ORDER BY 1
       )
"""

# The next due time in the future.
NEXT_DUE = """
SELECT min(due_at) FROM publisher.publish_command
WHERE state IN ('scheduled', 'waiting') AND due_at > now() AND trigger <> 'canary'
"""

# Whether a trigger on the platform's videos calls our function, under its old name too, and is
# enabled for sessions that are not those of a replication.
HAS_GENERATION_TRIGGER = """
SELECT EXISTS (
    SELECT FROM pg_trigger JOIN pg_proc ON pg_proc.oid = tgfoid
    WHERE pronamespace = 'publisher'::regnamespace AND proname IN ('video_changed', 'video_turned')
      AND tgenabled IN ('O', 'A')
)
"""

# Notify of a due time (seconds since 1970) within the horizon. Postgres sends it at the commit.
NOTIFY_DUE = """
SELECT pg_notify(%(channel)s, extract(epoch FROM %(due_at)s::timestamptz)::text)
WHERE %(due_at)s <= clock_timestamp() + %(horizon)s
"""

LISTEN = f"LISTEN {CHANNEL}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Upcoming:
    """The next due times, the earliest first, in seconds since 1970."""

    now: float
    """The database's clock at the read."""
    due: list[float]


def notify_due(tx: Connection, due: Iterable[datetime]) -> None:
    """Notify the schedulers of the earliest of these times, if it is within the horizon."""
    soonest = min(due, default=None)
    if soonest is not None:
        tx.execute(NOTIFY_DUE, {"channel": CHANNEL, "due_at": soonest, "horizon": HORIZON})


@contextmanager
def open_listener(engine: Engine) -> Generator[Connection]:
    """Open a separate connection that receives notifications of due times.

    Through a connection pooler it receives none: due times are read once a second.
    """
    pooled = engine.raw_connection()
    driver: Any = pooled.driver_connection
    pooled.detach()
    try:
        driver.autocommit = True
        if not is_through_pooler(driver):
            driver.execute(LISTEN)
        yield driver
    finally:
        driver.close()


def read_upcoming(connection: Connection, since: float | None = None) -> Upcoming:
    """Read the due times within the horizon, ahead and back; none before `since`.

    `since` is in seconds since 1970.
    """
    row = connection.execute(UPCOMING, {"horizon": HORIZON, "since": since}).fetchone()
    now, due = row or (0.0, [])
    return Upcoming(now=now, due=due)


def read_next_due(tx: Connection) -> datetime | None:
    """Read the next due time in the future. None: no command is scheduled."""
    row = tx.execute(NEXT_DUE).fetchone()
    return row[0] if row else None


def has_generation_trigger(tx: Connection) -> bool:
    """Whether the end of generation makes waiting commands due at once."""
    row = tx.execute(HAS_GENERATION_TRIGGER).fetchone()
    return bool(row and row[0])


def wait_for_notification(connection: Connection, seconds: float) -> list[Notified]:
    """Wait at most `seconds` for a notification."""
    return [
        ANNOUNCE if notice.payload == ANNOUNCE else _to_time(notice.payload)
        for notice in connection.notifies(timeout=seconds, stop_after=1)
    ]


def cut_off(connection: Connection) -> None:
    """Shut down a connection that another thread waits on: that thread gets an error at once."""
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
