"""Fan-out in SQL: the position up to which events have deliveries, and the making of deliveries.

Lock order for a transaction that locks several kinds of rows: the outlet, endpoints, deliveries.
"""

from db.session import Connection

# SQL for a new UUIDv7 (PostgreSQL 18 has a function for it): new keys are close in their index.
UUID7 = """encode(set_bit(set_bit(overlay(uuid_send(gen_random_uuid()) PLACING
        substring(int8send((extract(epoch FROM clock_timestamp()) * 1000)::bigint) FROM 3)
        FROM 1 FOR 6), 52, 1), 53, 1), 'hex')::uuid"""

# Create the row with the fan-out position, if it does not exist; it starts with the next event.
START = """
INSERT INTO publisher.outlet (name, position)
SELECT 'webhooks', position FROM publisher.event_position
ON CONFLICT (name) DO NOTHING
"""

# Lock and read the fan-out position.
LOCK = "SELECT position FROM publisher.outlet WHERE name = 'webhooks' FOR UPDATE"

# Read the position of the last event.
LAST = "SELECT position FROM publisher.event_position"

# Make the deliveries of the next events after a position, and advance the position. This runs as
# a statement of its own after LOCK, so that its snapshot includes every endpoint made before. A
# delivery is due no earlier than the waiting ones of its endpoint and video, so that no claim
# looks at it too soon. The endpoints are locked first, as the foreign key would do one by one: one
# that is deleted meanwhile gets nothing. (Conflicts: a replay has made the delivery already.)
FAN_OUT = f"""
WITH batch AS MATERIALIZED (
    SELECT position, id, type, video_id, workspace_id
    FROM publisher.outbox_event
    WHERE position > %(after)s
    ORDER BY position
    LIMIT %(limit)s
),
endpoint AS MATERIALIZED (
    SELECT id, workspace_id, event_types, after_position FROM publisher.webhook_endpoint
    WHERE state = 'enabled' AND workspace_id IN (SELECT workspace_id FROM batch)
    FOR KEY SHARE
),
made AS (
    INSERT INTO publisher.webhook_delivery
        (id, endpoint_id, position, event_id, event_type, video_id, due_at)
    SELECT {UUID7}, e.id, b.position, b.id, b.type, b.video_id, greatest(now(), (
               SELECT max(ahead.due_at) FROM publisher.webhook_delivery ahead
               WHERE ahead.endpoint_id = e.id AND ahead.video_id = b.video_id
                 AND ahead.state = 'pending' AND ahead.claimed_until IS NULL))
    FROM batch b
    JOIN endpoint e ON e.workspace_id = b.workspace_id
    WHERE b.position > e.after_position
      AND (e.event_types IS NULL OR b.type = ANY(e.event_types))
    ORDER BY b.position
    ON CONFLICT (endpoint_id, position) DO NOTHING
    RETURNING 1
),
moved AS (
    UPDATE publisher.outlet SET position = (SELECT max(position) FROM batch)
    WHERE name = 'webhooks' AND EXISTS (SELECT FROM batch)
)
SELECT (SELECT count(*) FROM batch), (SELECT count(*) FROM made)
"""

# The first position that is still to be fanned out or delivered; NULL if no endpoint is enabled.
NEEDED_FROM = """
SELECT least(
    (SELECT position + 1 FROM publisher.outlet WHERE name = 'webhooks'
     AND EXISTS (SELECT FROM publisher.webhook_endpoint WHERE state = 'enabled')),
    (SELECT min(d.position) FROM publisher.webhook_delivery d
     JOIN publisher.webhook_endpoint e ON e.id = d.endpoint_id
     WHERE d.state = 'pending' AND e.state = 'enabled')
)
"""


def lock_last_position(tx: Connection) -> int:
    """Block fan-out until the commit; return the position of the last event.

    An endpoint that this transaction creates or enables with that position as its
    `after_position` receives every later event and no earlier one. Call this before locking the
    endpoint's row.
    """
    tx.execute(START)
    tx.execute(LOCK)
    row = tx.execute(LAST).fetchone()
    return row[0] if row else 0


def fan_out(tx: Connection, limit: int) -> tuple[int, int]:
    """Fan out up to `limit` further events; return how many events, how many deliveries made."""
    start = tx.execute(LOCK).fetchone()
    if start is None:  # no endpoint was ever registered
        return 0, 0
    row = tx.execute(FAN_OUT, {"after": start[0], "limit": limit}).fetchone()
    return row or (0, 0)


def read_needed_position(tx: Connection) -> int | None:
    """Return the first position that is still to be fanned out or delivered; None if none is."""
    row = tx.execute(NEEDED_FROM).fetchone()
    return row[0] if row else None
