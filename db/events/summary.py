"""The summary of events in SQL: how many there were in each ten seconds, and how late.

It is a projection of the outbox with a place of its own in it, like an outlet. A page reads a few
thousand rows of it where it would otherwise read millions of events.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from psycopg.rows import class_row

from db.session import Answer, Connection
from publish_worker_client.events.names import EventType

NAME = "summary"
"""Of its place, among the outlets'."""
LIMIT = 20_000
"""Events that one transaction summarises."""
ALL_WORKSPACES = 0
"""The workspace of the rows that count every workspace."""
KEPT = timedelta(hours=25)
COARSE_SPAN = timedelta(minutes=15)
COARSE = -2
"""The step of the rows that count a quarter of an hour, of every lateness."""
STEPS_PER_DECADE = 10
"""Of the histogram of lateness: two bounds that follow each other differ by a quarter."""

# Give the summary a place before the oldest event that a chart reaches, unless it has one.
# Positions follow time, so bisection finds it: an outbox may have millions of older events.
BEGIN = """
WITH RECURSIVE bisection (low, high) AS (
    SELECT (SELECT min(position) FROM publisher.outbox_event), position + 1
    FROM publisher.event_position
    UNION ALL
    SELECT CASE WHEN probe.occurred_at < now() - %(age)s THEN (low + high) / 2 + 1 ELSE low END,
           CASE WHEN probe.occurred_at < now() - %(age)s THEN high ELSE (low + high) / 2 END
    FROM bisection LEFT JOIN LATERAL (
        SELECT occurred_at FROM publisher.outbox_event
        WHERE position = (low + high) / 2 OFFSET 0  -- for each step alone: never by a hash of all
    ) probe ON true
    WHERE low < high
)
INSERT INTO publisher.outlet (name, position)
SELECT %(name)s, coalesce(
    (SELECT low - 1 FROM bisection WHERE low = high),
    (SELECT position FROM publisher.event_position)
)
WHERE NOT EXISTS (SELECT FROM publisher.outlet WHERE name = %(name)s)
ON CONFLICT (name) DO NOTHING
"""

# Lock the place of the summary, unless another process has locked it.
LOCK = "SELECT position FROM publisher.outlet WHERE name = %(name)s FOR UPDATE SKIP LOCKED"

# Summarise the next events, and advance the place: in ten seconds by lateness, and in quarters of
# an hour without it, which charts of a day are drawn from. The lateness is that of GET
# /punctuality: from when the command fell due to its end. An event whose command was deleted has
# none, nor has one that was not due.
SUMMARISE = """
WITH event AS (
    SELECT position, type, workspace_id, command_id,
           date_bin('10 seconds', occurred_at, 'epoch') AS began_at
    FROM publisher.outbox_event
    WHERE position > %(after)s
    ORDER BY position
    LIMIT %(limit)s
), measured AS (
    SELECT event.began_at, event.workspace_id, event.type,
           CASE WHEN event.type = ANY(%(timed)s::text[]) AND c.fell_due_at IS NOT NULL
                THEN ceil(%(steps)s * log(greatest(
                    1000 * extract(epoch FROM c.finished_at - c.fell_due_at)::float8, 1
                )))::int ELSE -1 END AS step
    FROM event LEFT JOIN publisher.publish_command c ON c.id = event.command_id
), counted AS (
    SELECT place AS workspace_id, began_at, type, coalesce(step, -1) AS step, count(*) AS events
    FROM measured, unnest(ARRAY[workspace_id, %(everywhere)s]) AS place
    GROUP BY place, began_at, type, coalesce(step, -1)
), written AS (
    INSERT INTO publisher.event_summary AS summary (workspace_id, began_at, type, step, events)
    TABLE counted
    UNION ALL
    SELECT workspace_id, date_bin(%(coarse_span)s, began_at, 'epoch'), type, %(coarse)s, sum(events)
    FROM counted GROUP BY 1, 2, 3
    ON CONFLICT (workspace_id, began_at, type, step)
    DO UPDATE SET events = summary.events + excluded.events
)
UPDATE publisher.outlet
SET position = (SELECT max(position) FROM event)
WHERE name = %(name)s AND EXISTS (SELECT FROM event)
RETURNING (SELECT count(*) FROM event)
"""

# The events since a time, in spans of this length, by type and lateness.
READ = """
SELECT date_bin(%(span)s, began_at, 'epoch') AS began_at, type, step, sum(events)::bigint AS events
FROM publisher.event_summary
WHERE workspace_id = %(workspace_id)s AND began_at >= date_bin(%(span)s, now() - %(age)s, 'epoch')
  AND step >= -1
GROUP BY 1, type, step
ORDER BY 1
"""

# The same without the lateness, from the counts of quarters of an hour: a hundredth of the rows.
READ_COARSE = """
SELECT date_bin(%(span)s, began_at, 'epoch') AS began_at, type, -1 AS step,
       sum(events)::bigint AS events
FROM publisher.event_summary
WHERE workspace_id = %(workspace_id)s AND began_at >= date_bin(%(span)s, now() - %(age)s, 'epoch')
  AND step = %(coarse)s
GROUP BY 1, type
ORDER BY 1
"""

# Delete what is older than a chart reaches, a limited number of rows at a time.
PRUNE = """
DELETE FROM publisher.event_summary WHERE (workspace_id, began_at, type, step) IN (
    SELECT workspace_id, began_at, type, step FROM publisher.event_summary
    WHERE began_at < now() - %(age)s LIMIT %(limit)s
)
"""

_TIMED = [str(each) for each in (EventType.PUBLISHED, EventType.UNPUBLISHED, EventType.REJECTED)]


@dataclass(frozen=True, slots=True, kw_only=True)
class EventCount:
    """How many events of a type began within a span, with about the same lateness."""

    began_at: datetime
    type: str
    step: int
    """The lateness is at most `to_seconds(step)`; -1: it is not measured."""
    events: int


def to_seconds(step: int) -> float:
    """Return the upper bound of a step of lateness."""
    return 10.0 ** (step / STEPS_PER_DECADE - 3)


def summarise(tx: Connection) -> int:
    """Summarise the next events; return their number. 0 if another process does it now."""
    tx.execute(BEGIN, {"name": NAME, "age": KEPT})
    place = tx.execute(LOCK, {"name": NAME}).fetchone()
    if place is None:
        return 0
    values = {
        "after": place[0],
        "limit": LIMIT,
        "name": NAME,
        "timed": _TIMED,
        "steps": STEPS_PER_DECADE,
        "everywhere": ALL_WORKSPACES,
        "coarse": COARSE,
        "coarse_span": COARSE_SPAN,
    }
    row = tx.execute(SUMMARISE, values).fetchone()
    return row[0] if row else 0


def read(
    tx: Connection, *, workspace_id: int | None, age: timedelta, span: timedelta
) -> Answer[Sequence[EventCount]]:
    """Return the counts of the last `age` in spans, of one workspace (None: all): in a pipeline.

    Spans of quarters of an hour are without lateness.
    """
    values = {
        "workspace_id": ALL_WORKSPACES if workspace_id is None else workspace_id,
        "age": age,
        "span": span,
        "coarse": COARSE,
    }
    statement = READ if span % COARSE_SPAN else READ_COARSE
    return tx.cursor(row_factory=class_row(EventCount)).execute(statement, values).fetchall


def prune(tx: Connection, *, limit: int) -> int:
    """Delete up to `limit` old counts; return their number."""
    return tx.execute(PRUNE, {"age": KEPT, "limit": limit}).rowcount
