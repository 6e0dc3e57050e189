"""Replays in SQL: start deliveries again, with a new set of attempts.

A delivery that is being attempted at this moment is left as it is. An event that the outbox has
pruned cannot be replayed.
"""

from uuid import UUID

from db.session import Connection
from db.webhooks.fan_out import UUID7
from schemas.webhook import Replayed

_START_AGAIN = """state = 'pending', attempts = 0, due_at = now(), claimed_until = NULL,
    finished_at = NULL"""
_NOT_CLAIMED = "NOT coalesce(d.state = 'pending' AND d.claimed_until > now(), false)"
_EVENT_KEPT = "EXISTS (SELECT FROM publisher.outbox_event o WHERE o.position = d.position)"

# Replay one delivery of an endpoint; count 0 if it does not exist or its event was pruned.
REPLAY_ONE = f"""
WITH found AS (
    SELECT d.id FROM publisher.webhook_delivery d
    WHERE d.id = %(id)s AND d.endpoint_id = %(endpoint_id)s AND {_EVENT_KEPT}
    FOR NO KEY UPDATE
),
again AS (
    UPDATE publisher.webhook_delivery d SET {_START_AGAIN}
    FROM found WHERE d.id = found.id AND {_NOT_CLAIMED}
)
SELECT count(*) FROM found
"""

# Replay every event from a position on that passes the endpoint's filter; make the deliveries that
# were never made. Return the number of events and the last position.
REPLAY_SINCE = f"""
WITH batch AS MATERIALIZED (
    SELECT o.position, o.id, o.type, o.video_id, e.id AS endpoint_id
    FROM publisher.webhook_endpoint e
    JOIN publisher.outbox_event o ON o.workspace_id = e.workspace_id
     AND (e.event_types IS NULL OR o.type = ANY(e.event_types))
    WHERE e.id = %(endpoint_id)s AND o.position >= %(since)s
    ORDER BY o.position
    LIMIT %(limit)s
),
made AS (
    INSERT INTO publisher.webhook_delivery AS d
        (id, endpoint_id, position, event_id, event_type, video_id)
    SELECT {UUID7}, endpoint_id, position, id, type, video_id FROM batch ORDER BY position
    ON CONFLICT (endpoint_id, position) DO UPDATE SET {_START_AGAIN}
    WHERE {_NOT_CLAIMED}
)
SELECT count(*), max(position) FROM batch
"""

# Replay failed deliveries of an endpoint after a position, and return their number and the last
# position.
REPLAY_FAILED = f"""
WITH batch AS MATERIALIZED (
    SELECT d.id, d.position FROM publisher.webhook_delivery d
    WHERE d.endpoint_id = %(endpoint_id)s AND d.state = 'failed' AND d.position > %(after)s
      AND {_EVENT_KEPT}
    ORDER BY d.position LIMIT %(limit)s
    FOR NO KEY UPDATE
),
again AS (
    UPDATE publisher.webhook_delivery d SET {_START_AGAIN} FROM batch WHERE d.id = batch.id
)
SELECT count(*), max(position) FROM batch
"""

# The number of failed deliveries of an endpoint.
COUNT_FAILED = """
SELECT count(*) FROM publisher.webhook_delivery
WHERE endpoint_id = %(endpoint_id)s AND state = 'failed'
"""

# Whether an endpoint has at least this number of pending deliveries.
HAS_PENDING = """
SELECT count(*) >= %(count)s FROM (
    SELECT FROM publisher.webhook_delivery
    WHERE endpoint_id = %(endpoint_id)s AND state = 'pending' LIMIT %(count)s
) pending
"""


def has_pending(tx: Connection, endpoint_id: UUID, count: int) -> bool:
    """Whether an endpoint has `count` pending deliveries or more."""
    return tx.execute(HAS_PENDING, {"endpoint_id": endpoint_id, "count": count}).fetchone() == (
        True,
    )


def replay_one(tx: Connection, endpoint_id: UUID, delivery_id: UUID) -> bool:
    """Replay a delivery; False if it does not exist or its event was pruned."""
    row = tx.execute(REPLAY_ONE, {"id": delivery_id, "endpoint_id": endpoint_id}).fetchone()
    return bool(row and row[0])


def replay_since(tx: Connection, endpoint_id: UUID, since: int, limit: int = 10_000) -> Replayed:
    """Replay up to `limit` events from the position `since` on, itself included.

    This includes events from before the endpoint was made and from while it was disabled.
    """
    values = {"endpoint_id": endpoint_id, "since": since, "limit": limit}
    row = tx.execute(REPLAY_SINCE, values).fetchone()
    count, last = row or (0, since)
    return Replayed(deliveries=count, next_position=last + 1 if count == limit else None)


def replay_failed(
    tx: Connection, endpoint_id: UUID, *, after: int = 0, limit: int | None = None
) -> Replayed:
    """Replay up to `limit` failed deliveries of an endpoint after a position (None: all of them).

    `next_position` is one more than the last one's, if more may follow.
    """
    values = {"endpoint_id": endpoint_id, "after": after, "limit": limit}
    count, last = tx.execute(REPLAY_FAILED, values).fetchone() or (0, None)
    more = last + 1 if last is not None and count == limit else None
    return Replayed(deliveries=count, next_position=more)


def count_failed(tx: Connection, endpoint_id: UUID) -> int:
    """Count the failed deliveries of an endpoint."""
    row = tx.execute(COUNT_FAILED, {"endpoint_id": endpoint_id}).fetchone()
    return row[0] if row else 0
