"""Gauges in SQL: what a scrape by Prometheus reads, in a time that does not grow with the tables.

A number of rows is counted up to `MOST`, along an index. Beyond that the size of the index as of
the last VACUUM or ANALYZE is the estimate.
"""

from dataclasses import dataclass, field
from typing import Any

from psycopg.errors import QueryCanceled
from psycopg.rows import dict_row

from db.commands import claim
from db.session import Connection, limit_statements

MOST = 10_000
"""Rows that a count reads."""
SECONDS = 0.5
"""The limit of a statement: a scrape goes without what takes longer."""

_OPEN = "state IN ('scheduled', 'waiting')"
_FAILED = "state = 'failed'"


def _count(rows: str) -> str:
    """SQL that counts at most `most` of the rows."""
    return f"(SELECT count(*) FROM ({rows} LIMIT %(most)s) counted)"


# The position of the last event, and for each outlet the number of events after its own position
# with the age of the first of these. The position of the stream comes from Redis.
OUTLETS = """
SELECT last.position, o.name, greatest(last.position - o.position, 0) AS events,
       coalesce((
           SELECT extract(epoch FROM clock_timestamp() - occurred_at)
           FROM publisher.outbox_event e WHERE e.position > o.position
           ORDER BY e.position LIMIT 1
       ), 0)::float8 AS seconds
FROM publisher.event_position last LEFT JOIN (
    SELECT name, position FROM publisher.outlet WHERE name = ANY(%(names)s::text[])
    UNION ALL
    SELECT 'stream', %(stream)s::bigint WHERE %(stream)s::bigint IS NOT NULL
) o ON true
"""

# When the oldest canary that is stored was scheduled; when the last one was carried out, and how
# late.
CANARY = """
SELECT extract(epoch FROM first.accepted_at)::float8,
       extract(epoch FROM last.finished_at)::float8,
       extract(epoch FROM last.finished_at - coalesce(last.fell_due_at, last.due_at))::float8
FROM (
    SELECT accepted_at FROM publisher.publish_command WHERE trigger = 'canary'
    ORDER BY id LIMIT 1
) first LEFT JOIN LATERAL (
    SELECT * FROM publisher.publish_command
    WHERE trigger = 'canary' AND state IN ('published', 'unpublished', 'unchanged')
    ORDER BY id DESC LIMIT 1
) last ON true
"""

# Open commands, and how many of them are due or wait, which is checked again within a minute: one
# look at those that come first. (A condition on due_at would make PostgreSQL 18 read all of them
# in another index.) Then failed commands, and quarantined messages, in the order of their indexes.
COMMANDS = f"""
SELECT count(*) AS open, count(*) FILTER (WHERE due_at <= now()) AS due,
       count(*) FILTER (WHERE state = 'waiting') AS waiting,
       (SELECT reltuples FROM pg_class
        WHERE oid = 'publisher.ix_publish_command_claim'::regclass) AS estimate,
       {_count(f"SELECT FROM publisher.publish_command WHERE {_FAILED} ORDER BY id")} AS failed,
       {_count("SELECT FROM publisher.quarantined_message ORDER BY id")} AS quarantined
FROM (
    SELECT state, due_at FROM publisher.publish_command
    WHERE {_OPEN} ORDER BY due_at, id LIMIT %(most)s
) first
"""

# Pending deliveries, and how long the oldest one has been due, over the enabled endpoints.
WEBHOOKS = f"""
SELECT {
    _count(
        "SELECT FROM publisher.webhook_delivery WHERE state = 'pending'"
        " ORDER BY endpoint_id, due_at, position"
    )
} AS pending,
       coalesce(extract(epoch FROM now() - min(first.due_at)), 0)::float8 AS oldest
FROM (
    SELECT id FROM publisher.webhook_endpoint WHERE state = 'enabled' ORDER BY id LIMIT %(most)s
) endpoint, LATERAL (
    SELECT due_at FROM publisher.webhook_delivery
    WHERE endpoint_id = endpoint.id AND state = 'pending' AND due_at <= now()
    ORDER BY due_at LIMIT 1
) first
"""

# Endpoints by state.
ENDPOINTS = "SELECT state, count(*) FROM publisher.webhook_endpoint GROUP BY state"


@dataclass(kw_only=True)
class Readings:
    """What was read; None or empty: it was not read in time, or does not exist."""

    last_position: int | None = None
    lag_events: dict[str, int] = field(default_factory=dict[str, int])
    """Events that an outlet has not got yet."""
    lag_seconds: dict[str, float] = field(default_factory=dict[str, float])
    """The age of the first of them."""
    oldest_due_seconds: float | None = None
    canary: tuple[float, float | None, float | None] | None = None
    """When the first one was scheduled and the last one was carried out, in seconds since 1970, and
    how many seconds late that was."""
    scheduled: int | None = None
    waiting: int | None = None
    due: int | None = None
    failed: int | None = None
    quarantined: int | None = None
    pending_deliveries: int | None = None
    oldest_delivery_seconds: float | None = None
    endpoints: dict[str, int] = field(default_factory=dict[str, int])


def read(tx: Connection, *, outlets: list[str], stream_position: int | None) -> Readings:
    """Read everything, the most important first; after a statement that is too slow, nothing more.

    `outlets`: the names of those that have their position in the database.
    """
    readings = Readings()
    limit_statements(tx, SECONDS)
    try:
        _read_outlets(tx, readings, outlets, stream_position)
        readings.oldest_due_seconds = claim.read_lateness(tx)
        readings.canary = tx.execute(CANARY).fetchone()
        _read_commands(tx, readings)
        _read_webhooks(tx, readings)
    except QueryCanceled:
        pass
    return readings


def _read_outlets(
    tx: Connection, readings: Readings, names: list[str], stream_position: int | None
) -> None:
    for last, name, events, seconds in tx.execute(
        OUTLETS, {"names": names, "stream": stream_position}
    ):
        readings.last_position = last
        if name is not None:
            readings.lag_events[name] = events
            readings.lag_seconds[name] = seconds


def _read_commands(tx: Connection, readings: Readings) -> None:
    row = _read_row(tx, COMMANDS)
    number = row["open"] if row["open"] < MOST else max(MOST, int(row["estimate"]))
    readings.scheduled = max(number - row["waiting"], 0)
    readings.waiting = row["waiting"]
    readings.due = row["due"]
    readings.failed = row["failed"]
    readings.quarantined = row["quarantined"]


def _read_webhooks(tx: Connection, readings: Readings) -> None:
    row = _read_row(tx, WEBHOOKS)
    readings.pending_deliveries = row["pending"]
    readings.oldest_delivery_seconds = row["oldest"]
    readings.endpoints = dict(tx.execute(ENDPOINTS).fetchall())


def _read_row(tx: Connection, statement: str) -> dict[str, Any]:
    with tx.cursor(row_factory=dict_row) as cursor:
        row = cursor.execute(statement, {"most": MOST}).fetchone()  # pyright: ignore[reportArgumentType, reportCallIssue] - constants only
    assert row is not None  # noqa: S101 - an aggregate always answers
    return row
