"""The publisher's outbox as its readers see it: recorded events, in the order of positions."""

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

import psycopg
from psycopg.rows import TupleRow

from publish_worker_client.rows import to_values

# The next events after a position, in order.
AFTER = """
SELECT position, id::text, type, coalesce(subject, video_id::text) AS subject, workspace_id,
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

Connection = psycopg.Connection[TupleRow]


@dataclass(slots=True)
class RecordedEvent:
    """An outbox row; `data` is JSON text."""

    position: int
    id: str
    """A UUID, as every reader gets it."""
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


def read_after(tx: Connection, position: int, limit: int) -> list[RecordedEvent]:
    """Return up to `limit` events after `position`, in order."""
    with tx.cursor(row_factory=to_values(RecordedEvent), binary=True) as cursor:
        return cursor.execute(AFTER, {"after": position, "limit": limit}).fetchall()


def read_ends(tx: Connection) -> tuple[int, int | None]:
    """Return the last assigned position, and the oldest stored one."""
    last, oldest = tx.execute(ENDS).fetchone() or (0, None)
    return last, oldest
