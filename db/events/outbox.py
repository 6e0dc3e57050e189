"""The outbox in SQL: record events in the order of positions, read and prune them."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from functools import cache
from json.encoder import encode_basestring_ascii as quote
from uuid import UUID

from psycopg import ClientCursor
from pydantic import TypeAdapter

from db.session import Connection
from publish_worker_client.events.data import EVENT_DATA, EventData
from publish_worker_client.events.names import EventType
from publish_worker_client.events.outbox import RecordedEvent
from schemas.values.decision import NewEvent

# Hand the events to the transaction. Within APPEND they would be a literal, which takes five times
# as long to write and to scan. Their data are apart, one in a line (JSON text has no line breaks):
# within the JSON they would be parsed three times.
HAND_OVER = """
SELECT set_config('publisher.events', %(events)s, true) IS NULL,
       set_config('publisher.event_data', %(data)s, true) IS NULL
"""

# Record these events, read their last position, the id of the event before them and whether an
# endpoint is enabled, and commit. This locks the counter row, so it comes last. The statements are
# one message: the server needs nothing more from a client that stops here. Positions have no gaps
# and become visible in order.
APPEND = """
WITH counter AS (
    UPDATE publisher.event_position SET position = position + %(count)s RETURNING position
)
INSERT INTO publisher.outbox_event
    (position, id, type, video_id, subject, workspace_id, occurred_at, revision, command_id,
     correlation_id, traceparent, data)
SELECT counter.position - %(count)s + event.nth, event.id, event.type, event.video_id,
       event.subject, event.workspace_id, event.occurred_at, event.revision, event.command_id,
       event.correlation_id, event.traceparent, event.data::json
FROM counter,
     ROWS FROM (json_to_recordset(current_setting('publisher.events')::json) AS (
         id uuid, type text, video_id bigint, subject text, workspace_id bigint,
         occurred_at timestamptz,
         revision int, command_id uuid, correlation_id text, traceparent text
     ), string_to_table(current_setting('publisher.event_data'), E'\\n')) WITH ORDINALITY AS event
         (id, type, video_id, subject, workspace_id, occurred_at, revision, command_id,
          correlation_id, traceparent, data, nth);
SELECT position, (
    SELECT id::text FROM publisher.outbox_event WHERE position = counter.position - %(count)s
), EXISTS (SELECT FROM publisher.webhook_endpoint WHERE state = 'enabled')
FROM publisher.event_position AS counter;
COMMIT
"""

# How long ago the first event after a position was recorded, in seconds.
AGE_AFTER = """
SELECT extract(epoch FROM clock_timestamp() - occurred_at)::float8
FROM publisher.outbox_event WHERE position > %(after)s ORDER BY position LIMIT 1
"""

# The first position younger than a given age, or the next position to assign. Every event before it
# is older. Some events after it may be older too, because concurrent batches overlap.
FIRST_YOUNG = """
SELECT coalesce(
    (SELECT min(position) FROM publisher.outbox_event WHERE occurred_at >= now() - %(age)s),
    (SELECT position + 1 FROM publisher.event_position)
)
"""

# Delete a limited number of events before a position.
PRUNE = """
DELETE FROM publisher.outbox_event WHERE position IN (
    SELECT position FROM publisher.outbox_event
    WHERE position < %(before)s
    ORDER BY position LIMIT %(limit)s
)
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Recorded:
    """Events that one transaction recorded, in order, without gaps."""

    previous_id: str | None
    """The id of the event before the first one. None: there is none, or it was deleted."""
    events: list[RecordedEvent]
    has_endpoints: bool
    """Whether a webhook endpoint was enabled, in any workspace."""


def hand_over(tx: Connection, events: Sequence[NewEvent]) -> list[str]:
    """Hand events to the transaction, in a pipeline if it has one; return their data as JSON."""
    texts = [_get_writer(event.type)(event.data).decode() for event in events]
    if events:
        rows = ",".join([_to_row(event) for event in events])
        tx.execute(HAND_OVER, {"events": f"[{rows}]", "data": "\n".join(texts)})
    return texts


def append(
    tx: Connection, events: Sequence[NewEvent], texts: Sequence[str] | None = None
) -> Recorded | None:
    """Record events and commit. Without events, nothing is done.

    `texts`: what `hand_over` returned. None: they are handed over here.
    """
    if not events:
        return None
    if texts is None:
        texts = hand_over(tx, events)
    cursor = ClientCursor(tx)
    cursor.execute(APPEND, {"count": len(events)})
    cursor.nextset()
    [(last, previous_id, has_endpoints)] = cursor.fetchall()
    first = last - len(events) + 1
    recorded = [
        _to_recorded(position, event, data)
        for position, (event, data) in enumerate(zip(events, texts, strict=True), first)
    ]
    return Recorded(previous_id=previous_id, events=recorded, has_endpoints=has_endpoints)


@cache
def _get_writer(kind: EventType) -> Callable[[EventData], bytes]:
    """Return what writes the data of a type as JSON, in half the time of `to_json`."""
    return TypeAdapter(EVENT_DATA[kind]).dump_json


def _to_row(event: NewEvent) -> str:
    """Return an event without its data as JSON; by hand, in a third of the time."""
    return (
        f'{{"id":"{event.id}","type":"{event.type}","video_id":{_to_number(event.video_id)}'
        f',"subject":{_quote(event.subject)},"workspace_id":{event.workspace_id}'
        f',"occurred_at":"{event.occurred_at.isoformat()}","revision":{_to_number(event.revision)}'
        f',"command_id":{_quote_id(event.command_id)}'
        f',"correlation_id":{_quote(event.correlation_id)}'
        f',"traceparent":{_quote(event.traceparent)}}}'
    )


def _quote(value: str | None) -> str:
    return "null" if value is None else quote(value)


def _quote_id(value: UUID | None) -> str:
    return "null" if value is None else f'"{value}"'


def _to_number(value: int | None) -> int | str:
    return "null" if value is None else value


def _to_recorded(position: int, event: NewEvent, data: str) -> RecordedEvent:
    return RecordedEvent(
        position,
        event.id,
        event.type,
        event.subject or str(event.video_id),
        event.workspace_id,
        event.occurred_at,
        event.revision,
        event.command_id,
        event.correlation_id,
        event.traceparent,
        data,
    )


def read_age_after(tx: Connection, position: int) -> float | None:
    """Return how many seconds ago the first event after a position was recorded; None: no event."""
    row = tx.execute(AGE_AFTER, {"after": position}).fetchone()
    return row[0] if row else None


def find_first_young(tx: Connection, age: timedelta) -> int:
    """Return the first position younger than `age`, or the next position to assign."""
    row = tx.execute(FIRST_YOUNG, {"age": age}).fetchone()
    return row[0] if row else 0


def prune(tx: Connection, *, before: int, limit: int) -> int:
    """Delete up to `limit` events before a position; return their number."""
    return tx.execute(PRUNE, {"before": before, "limit": limit}).rowcount
