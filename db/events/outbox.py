"""The outbox in SQL: record events in the order of positions, read and prune them."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from psycopg import ClientCursor
from psycopg.rows import class_row
from pydantic_core import to_json

from db.session import Connection
from schemas.values.decision import NewEvent

# Hand the events to the transaction. Within APPEND they would be a literal, which takes five times
# as long to write and to scan.
HAND_OVER = "SELECT set_config('publisher.events', %(events)s, true) IS NULL"

# Record these events, and commit. This locks the counter row, so it comes last. Both statements are
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
       event.correlation_id, event.traceparent, event.data
FROM counter,
     ROWS FROM (json_to_recordset(current_setting('publisher.events')::json) AS (
         id uuid, type text, video_id bigint, subject text, workspace_id bigint,
         occurred_at timestamptz,
         revision int, command_id uuid, correlation_id text, traceparent text, data json
     )) WITH ORDINALITY AS event
         (id, type, video_id, subject, workspace_id, occurred_at, revision, command_id,
          correlation_id, traceparent, data, nth);
COMMIT
"""

# The next events after a position, in order.
AFTER = """
SELECT position, id, type, coalesce(subject, video_id::text) AS subject, workspace_id,
       occurred_at, revision, command_id, correlation_id, traceparent, data::text AS data
FROM publisher.outbox_event
WHERE position > %(after)s
ORDER BY position
LIMIT %(limit)s
"""

# The last assigned position, and the oldest stored one (NULL: none).
ENDS = """
SELECT position, (SELECT min(position) FROM publisher.outbox_event)
FROM publisher.event_position
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
class RecordedEvent:
    """An outbox row; `data` is JSON text."""

    position: int
    id: UUID
    type: str
    subject: str
    """The video's id, or the endpoint's id for `webhook.endpoint_disabled`."""
    workspace_id: int
    occurred_at: datetime
    revision: int | None
    command_id: UUID | None
    correlation_id: str
    traceparent: str | None
    data: str


def append(tx: Connection, events: Sequence[NewEvent]) -> None:
    """Record events and commit. Without events, nothing is done."""
    if events:
        tx.execute(HAND_OVER, {"events": to_json(events).decode()})
        ClientCursor(tx).execute(APPEND, {"count": len(events)})


def read_after(tx: Connection, position: int, limit: int) -> list[RecordedEvent]:
    """Return up to `limit` events after `position`, in order."""
    with tx.cursor(row_factory=class_row(RecordedEvent), binary=True) as cursor:
        return cursor.execute(AFTER, {"after": position, "limit": limit}).fetchall()


def read_ends(tx: Connection) -> tuple[int, int | None]:
    """Return the last assigned position, and the oldest stored one."""
    last, oldest = tx.execute(ENDS).fetchone() or (0, None)
    return last, oldest


def find_first_young(tx: Connection, age: timedelta) -> int:
    """Return the first position younger than `age`, or the next position to assign."""
    row = tx.execute(FIRST_YOUNG, {"age": age}).fetchone()
    return row[0] if row else 0


def prune(tx: Connection, *, before: int, limit: int) -> int:
    """Delete up to `limit` events before a position; return their number."""
    return tx.execute(PRUNE, {"before": before, "limit": limit}).rowcount
