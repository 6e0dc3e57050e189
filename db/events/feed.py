"""The feed: the statement that reads the events after a position."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from psycopg.rows import class_row, dict_row

from db.session import Answer, Connection
from publish_worker_client.events.outbox import RecordedEvent

# Scan the next `scan` positions for matching events, in order, and read the ends of the outbox in
# the same snapshot. Workspaces and types are not indexed, because an index would slow down every
# insert, so the scan is limited. `after` NULL: scan from the oldest event. `found` events match;
# those of them are returned that begin within the first `max_bytes` of data.
SCAN = """
WITH ends AS (
    SELECT position AS last, (SELECT min(position) FROM publisher.outbox_event) AS oldest
    FROM publisher.event_position
), start AS (
    SELECT last, oldest, coalesce(%(after)s::bigint, oldest - 1, last) AS after FROM ends
)
SELECT start.last, start.oldest, start.after, event.*
FROM start LEFT JOIN LATERAL (
    SELECT matching.*, count(*) OVER () AS found,
           sum(octet_length(data)) OVER (ORDER BY position ROWS UNBOUNDED PRECEDING)
             - octet_length(data) AS bytes_before
    FROM (
        SELECT position, id::text, type, coalesce(subject, video_id::text) AS subject, workspace_id,
               occurred_at, revision, command_id, correlation_id, traceparent, data::text AS data
        FROM publisher.outbox_event
        WHERE position > start.after AND position <= start.after + %(scan)s
          AND (%(workspace_id)s::bigint IS NULL OR workspace_id = %(workspace_id)s)
          AND (%(types)s::text[] IS NULL OR type = ANY(%(types)s::text[]))
          AND (%(video_id)s::bigint IS NULL OR video_id = %(video_id)s)
        ORDER BY position
        LIMIT %(limit)s
    ) matching
) event ON bytes_before < %(max_bytes)s
ORDER BY event.position
"""

# The newest events of the last `positions`, the newest first, with the titles of their videos now.
LAST = """
SELECT e.position, e.type, e.video_id, e.workspace_id, e.occurred_at, e.revision, v.title,
       e.data->>'detail' AS detail
FROM (
    SELECT * FROM publisher.outbox_event
    WHERE position > (SELECT position FROM publisher.event_position) - %(positions)s
      AND (%(workspace_id)s::bigint IS NULL OR workspace_id = %(workspace_id)s)
    ORDER BY position DESC LIMIT %(limit)s
) e LEFT JOIN video v ON v.id = e.video_id
ORDER BY e.position DESC
"""

_SHARED = ("after", "last", "oldest", "found", "bytes_before")
PAGE_BYTES = 1024 * 1024
"""A page ends with the event that reaches this size of data."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FeedScan:
    """The result of one scan of the outbox."""

    events: list[RecordedEvent]
    after: int
    """The position after which the scan began."""
    last: int
    """The last position that was assigned."""
    is_cut: bool
    """Whether more events match, which would make the page too large."""
    oldest: int | None
    """The oldest position that is still stored; None: the outbox is empty."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LastEvent:
    """One of the newest events, in short."""

    position: int
    type: str
    video_id: int | None
    workspace_id: int
    occurred_at: datetime
    revision: int | None
    title: str | None
    """The video's title. None: the video was deleted, or the event is not about one."""
    detail: str | None
    """Why a command ended without a change."""


def read_last(
    tx: Connection, *, workspace_id: int | None, positions: int, limit: int
) -> Answer[list[LastEvent]]:
    """Return the newest events among the last `positions` of the outbox, the newest first.

    In a pipeline or outside.
    """
    values = {"workspace_id": workspace_id, "positions": positions, "limit": limit}
    return tx.cursor(row_factory=class_row(LastEvent)).execute(LAST, values).fetchall


def scan(
    tx: Connection,
    *,
    after: int | None,
    positions: int,
    limit: int,
    workspace_id: int | None,
    types: Iterable[str],
    video_id: int | None,
) -> FeedScan:
    """Scan `positions` positions after `after` (None: from the oldest) for at most `limit` events.

    Large events end a page early.

    `workspace_id` and `video_id` None, and no `types`: no restriction.
    """
    parameters = {
        "after": after,
        "scan": positions,
        "limit": limit,
        "workspace_id": workspace_id,
        "types": list(types) or None,
        "video_id": video_id,
        "max_bytes": PAGE_BYTES,
    }
    with tx.cursor(row_factory=dict_row) as cursor:
        rows = cursor.execute(SCAN, parameters).fetchall()
    ends = [[row.pop(name) for name in _SHARED] for row in rows]
    began_after, last, oldest, found, _ = ends[0]  # the same in each row
    events = [RecordedEvent(**row) for row in rows if row["position"] is not None]
    is_cut = (found or 0) > len(events)
    return FeedScan(events=events, after=began_after, last=last, oldest=oldest, is_cut=is_cut)
