"""The feed: the statement that reads a page of events after a position."""

from collections.abc import Iterable
from dataclasses import dataclass

from psycopg.rows import dict_row

from db.events.outbox import RecordedEvent
from db.session import Connection

# The wanted events of the next `scan` positions, in order, and where the outbox begins and ends:
# all in one snapshot, so that pruning or recording cannot come between two reads. No index
# knows workspaces or types (each would be paid for with every event), so the positions that one
# look goes through are bounded. NULL for the position means: from the oldest event on.
PAGE = """
WITH ends AS (
    SELECT position AS last, (SELECT min(position) FROM publisher.outbox_event) AS oldest
    FROM publisher.event_position
), start AS (
    SELECT last, oldest, coalesce(%(after)s::bigint, oldest - 1, last) AS after FROM ends
)
SELECT start.last, start.oldest, start.after, event.*
FROM start LEFT JOIN LATERAL (
    SELECT position, id, type, coalesce(subject, video_id::text) AS subject, workspace_id,
           occurred_at, revision, command_id, correlation_id, traceparent, data::text AS data
    FROM publisher.outbox_event
    WHERE position > start.after AND position <= start.after + %(scan)s
      AND (%(workspace_id)s::bigint IS NULL OR workspace_id = %(workspace_id)s)
      AND (%(types)s::text[] IS NULL OR type = ANY(%(types)s::text[]))
      AND (%(video_id)s::bigint IS NULL OR video_id = %(video_id)s)
    ORDER BY position
    LIMIT %(limit)s
) event ON true
ORDER BY event.position
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """What one look at the outbox saw."""

    events: list[RecordedEvent]
    after: int
    """Where it began."""
    last: int
    """The last position given out."""
    oldest: int | None
    """The oldest position still kept; None: there is none."""


def page(
    tx: Connection,
    *,
    after: int | None,
    scan: int,
    limit: int,
    workspace_id: int | None,
    types: Iterable[str],
    video_id: int | None,
) -> Look:
    """Scan `scan` positions after `after` (None: from the oldest on) for the wanted events."""
    asked = {
        "after": after,
        "scan": scan,
        "limit": limit,
        "workspace_id": workspace_id,
        "types": list(types) or None,
        "video_id": video_id,
    }
    with tx.cursor(row_factory=dict_row) as cursor:
        rows = cursor.execute(PAGE, asked).fetchall()
    ends = [(row.pop("after"), row.pop("last"), row.pop("oldest")) for row in rows]
    began, last, oldest = ends[0]  # the same in each row
    events = [RecordedEvent(**row) for row in rows if row["position"] is not None]
    return Look(events=events, after=began, last=last, oldest=oldest)
