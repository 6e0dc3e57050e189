"""Webhook deliveries: fanned out, claimed, settled, replayed, forgotten; set-based throughout.

Whoever locks several kinds of rows takes them in this order: the outlet, endpoints, deliveries.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from pydantic_core import to_json
from uuid_utils.compat import uuid7

from db.events.outbox import RecordedEvent
from db.session import Connection
from schemas.values.delivery import DisabledEndpoint, Health, Receiver, Settled

# A UUIDv7, as Postgres 18 has it as a function: new keys lie together in their index.
_UUID7 = """encode(set_bit(set_bit(overlay(uuid_send(gen_random_uuid()) PLACING
        substring(int8send((extract(epoch FROM clock_timestamp()) * 1000)::bigint) FROM 3)
        FROM 1 FOR 6), 52, 1), 53, 1), 'hex')::uuid"""

# Begin with what comes next, if nobody has begun before.
BEGIN = """
INSERT INTO publisher.outlet (name, position)
SELECT 'webhooks', position FROM publisher.event_position
ON CONFLICT (name) DO NOTHING
"""

# Hold the place up to which events were fanned out.
HOLD = "SELECT position FROM publisher.outlet WHERE name = 'webhooks' FOR UPDATE"

LAST = "SELECT position FROM publisher.event_position"

# Make the deliveries of the next events behind a position, and move it. A statement of its own
# behind the lock, so that it sees every endpoint made before. What comes behind an event of the
# same video that was put off, is put off as far, so that no claim looks at it in vain.
FAN_OUT = f"""
WITH batch AS MATERIALIZED (
    SELECT position, id, type, video_id, workspace_id
    FROM publisher.outbox_event
    WHERE position > %(after)s
    ORDER BY position
    LIMIT %(limit)s
),
made AS (
    INSERT INTO publisher.webhook_delivery
        (id, endpoint_id, position, event_id, event_type, video_id, due_at)
    SELECT {_UUID7}, e.id, b.position, b.id, b.type, b.video_id, greatest(now(), (
               SELECT max(ahead.due_at) FROM publisher.webhook_delivery ahead
               WHERE ahead.endpoint_id = e.id AND ahead.video_id = b.video_id
                 AND ahead.state = 'pending' AND ahead.claimed_until IS NULL))
    FROM batch b
    JOIN publisher.webhook_endpoint e ON e.workspace_id = b.workspace_id
    WHERE e.state = 'enabled' AND b.position > e.after_position
      AND (e.event_types IS NULL OR b.type = ANY(e.event_types))
    ORDER BY b.position
    ON CONFLICT (endpoint_id, position) DO NOTHING  -- it was replayed already
    RETURNING 1
),
moved AS (
    UPDATE publisher.outlet SET position = (SELECT max(position) FROM batch)
    WHERE name = 'webhooks' AND EXISTS (SELECT FROM batch)
)
SELECT (SELECT count(*) FROM batch), (SELECT count(*) FROM made)
"""

# Claim what is due, from endpoints in a random order, a bounded number in flight at each: so no
# endpoint keeps another one waiting; and one that fails is asked by one request at a time. None
# overtakes an earlier one of the same endpoint and video.
# The endpoints that have anything pending are found by hopping over the index, one step for each.
CLAIM = """
WITH RECURSIVE hop (endpoint_id) AS (
    (SELECT endpoint_id FROM publisher.webhook_delivery
     WHERE state = 'pending' ORDER BY endpoint_id LIMIT 1)
    UNION ALL
    SELECT (SELECT d.endpoint_id FROM publisher.webhook_delivery d
            WHERE d.state = 'pending' AND d.endpoint_id > hop.endpoint_id
            ORDER BY d.endpoint_id LIMIT 1)
    FROM hop WHERE hop.endpoint_id IS NOT NULL
),
endpoint AS MATERIALIZED (
    SELECT e.id, CASE WHEN e.failing_since IS NULL THEN %(each)s ELSE 1 END - (
        SELECT count(*) FROM publisher.webhook_delivery f
        WHERE f.endpoint_id = e.id AND f.state = 'pending' AND f.claimed_until > now()
    ) AS free
    FROM hop JOIN publisher.webhook_endpoint e ON e.id = hop.endpoint_id
    WHERE e.state = 'enabled'
    ORDER BY random()
),
due AS (
    SELECT d.id
    FROM endpoint
    CROSS JOIN LATERAL (
        SELECT d.id FROM publisher.webhook_delivery d
        WHERE d.endpoint_id = endpoint.id AND d.state = 'pending' AND d.due_at <= now()
          AND NOT EXISTS (
              SELECT FROM publisher.webhook_delivery earlier
              WHERE earlier.endpoint_id = d.endpoint_id AND earlier.video_id = d.video_id
                AND earlier.position < d.position AND earlier.state = 'pending'
          )
        ORDER BY d.due_at, d.position
        LIMIT greatest(endpoint.free, 0)
        FOR UPDATE SKIP LOCKED
    ) d
    LIMIT %(limit)s
),
claimed AS (
    UPDATE publisher.webhook_delivery d
    SET claimed_until = now() + %(hold)s, due_at = now() + %(hold)s
    FROM due WHERE d.id = due.id
    RETURNING d.id, d.endpoint_id, d.position, d.attempts, d.claimed_until
)
SELECT c.id, c.claimed_until, c.attempts,
       e.id, e.workspace_id, e.url, e.secret, e.previous_secret, e.previous_secret_until,
       o.position, o.id, o.type, coalesce(o.subject, o.video_id::text), o.workspace_id,
       o.occurred_at, o.revision, o.command_id, o.correlation_id, o.traceparent, o.data::text
FROM claimed c
JOIN publisher.webhook_endpoint e ON e.id = c.endpoint_id
JOIN publisher.outbox_event o ON o.position = c.position
ORDER BY c.position
"""

# Write down what the tries say of their endpoints, where that is news; who is gone, or has done
# nothing but fail for too long, is disabled.
JUDGE = """
WITH health AS (
    SELECT * FROM json_to_recordset(%(health)s::json) AS (
        endpoint_id uuid, succeeded bool, failing_since timestamptz, gone bool, detail text)
),
judged AS (
    SELECT e.id, h.gone, h.detail,
           CASE WHEN h.succeeded THEN h.failing_since
                ELSE coalesce(e.failing_since, h.failing_since) END AS failing_since,
           NOT h.succeeded AND coalesce(e.failing_since <= now() - %(patience)s, false) AS hopeless
    FROM health h JOIN publisher.webhook_endpoint e ON e.id = h.endpoint_id
    WHERE e.state = 'enabled'
      AND (h.gone
           OR NOT h.succeeded
              AND (e.failing_since IS NULL OR e.failing_since <= now() - %(patience)s)
           OR h.succeeded AND e.failing_since IS DISTINCT FROM h.failing_since)
    ORDER BY e.id
    FOR NO KEY UPDATE OF e
)
UPDATE publisher.webhook_endpoint e
SET failing_since = judged.failing_since,
    state = CASE WHEN gone OR hopeless THEN 'disabled' ELSE e.state END,
    disabled_reason = CASE WHEN gone THEN 'gone' WHEN hopeless THEN 'failing' END
FROM judged WHERE e.id = judged.id
RETURNING e.id, e.workspace_id, e.url, e.disabled_reason AS reason, judged.detail,
          now() AS disabled_at, e.state = 'disabled' AS is_disabled
"""

# Log tries, and write what becomes of their deliveries, unless somebody has claimed, cancelled or
# replayed one meanwhile. What waits behind one, of the same video, is due when that is due again,
# or now if that has ended.
SETTLE = """
WITH result AS MATERIALIZED (
    SELECT * FROM json_to_recordset(%(results)s::json) AS (
        attempt_id uuid, delivery_id uuid, claimed_until timestamptz, state text, pause float8,
        started_at timestamptz, duration_ms int, status int, error text, answer text)
),
held AS MATERIALIZED (
    SELECT d.id, d.endpoint_id, d.video_id, d.position
    FROM publisher.webhook_delivery d
    WHERE d.id IN (SELECT delivery_id FROM result)
    ORDER BY d.id
    FOR NO KEY UPDATE
),
behind AS (
    UPDATE publisher.webhook_delivery d
    SET due_at = now() + r.pause * interval '1 second'
    FROM held JOIN result r ON r.delivery_id = held.id
    WHERE d.endpoint_id = held.endpoint_id AND d.video_id = held.video_id
      AND d.position > held.position
      AND d.state = 'pending' AND d.attempts = 0 AND d.claimed_until IS NULL
      AND CASE WHEN r.state = 'pending' THEN d.due_at < now() + r.pause * interval '1 second'
               ELSE d.due_at > now() END
),
settled AS (
    UPDATE publisher.webhook_delivery d
    SET state = r.state, attempts = d.attempts + 1, claimed_until = NULL,
        due_at = now() + r.pause * interval '1 second',
        finished_at = CASE WHEN r.state <> 'pending' THEN now() END
    FROM held JOIN result r ON r.delivery_id = held.id
    WHERE d.id = held.id AND d.state = 'pending' AND d.claimed_until = r.claimed_until
)
INSERT INTO publisher.webhook_attempt
    (id, delivery_id, started_at, duration_ms, status, error, answer)
SELECT attempt_id, delivery_id, started_at, duration_ms, status, error, answer
FROM result JOIN held ON held.id = delivery_id
"""

# Give up what is pending at these endpoints.
CANCEL = """
UPDATE publisher.webhook_delivery SET state = 'cancelled', claimed_until = NULL, finished_at = now()
WHERE endpoint_id = ANY(%(endpoints)s) AND state = 'pending'
"""

_AGAIN = """state = 'pending', attempts = 0, due_at = now(), claimed_until = NULL,
    finished_at = NULL"""
_IN_HAND = "d.state = 'pending' AND d.claimed_until > now()"
_EVENT_KEPT = "EXISTS (SELECT FROM publisher.outbox_event o WHERE o.position = d.position)"

# Whether a delivery is there to be replayed; and replay it.
REPLAY_ONE = f"""
WITH found AS (
    SELECT d.id FROM publisher.webhook_delivery d
    WHERE d.id = %(id)s AND d.endpoint_id = %(endpoint_id)s AND {_EVENT_KEPT}
    FOR NO KEY UPDATE
),
again AS (
    UPDATE publisher.webhook_delivery d SET {_AGAIN}
    FROM found WHERE d.id = found.id AND NOT coalesce({_IN_HAND}, false)
)
SELECT count(*) FROM found
"""

# Replay what lies behind a position, and make what was never made; tell how far that went.
REPLAY_AFTER = f"""
WITH batch AS MATERIALIZED (
    SELECT o.position, o.id, o.type, o.video_id, e.id AS endpoint_id
    FROM publisher.webhook_endpoint e
    JOIN publisher.outbox_event o ON o.workspace_id = e.workspace_id
     AND (e.event_types IS NULL OR o.type = ANY(e.event_types))
    WHERE e.id = %(endpoint_id)s AND o.position > %(after)s
    ORDER BY o.position
    LIMIT %(limit)s
),
made AS (
    INSERT INTO publisher.webhook_delivery AS d
        (id, endpoint_id, position, event_id, event_type, video_id)
    SELECT {_UUID7}, endpoint_id, position, id, type, video_id FROM batch ORDER BY position
    ON CONFLICT (endpoint_id, position) DO UPDATE SET {_AGAIN}
    WHERE NOT coalesce({_IN_HAND}, false)
)
SELECT count(*), coalesce(max(position), %(after)s) FROM batch
"""

# Replay what has failed for good.
REPLAY_FAILED = f"""
UPDATE publisher.webhook_delivery d SET {_AGAIN}
WHERE d.endpoint_id = %(endpoint_id)s AND d.state = 'failed' AND {_EVENT_KEPT}
"""

# The first position that is still to be fanned out or delivered (NULL: nobody asks for any).
NEEDED_FROM = """
SELECT least(
    (SELECT position + 1 FROM publisher.outlet WHERE name = 'webhooks'
     AND EXISTS (SELECT FROM publisher.webhook_endpoint WHERE state = 'enabled')),
    (SELECT min(d.position) FROM publisher.webhook_delivery d
     JOIN publisher.webhook_endpoint e ON e.id = d.endpoint_id
     WHERE d.state = 'pending' AND e.state = 'enabled')
)
"""

# Forget deliveries that ended long ago, with their attempts; a bounded number at a time.
PRUNE = """
DELETE FROM publisher.webhook_delivery WHERE id IN (
    SELECT id FROM publisher.webhook_delivery WHERE finished_at < now() - %(age)s LIMIT %(limit)s
)
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class ClaimedDelivery:
    """A delivery that is ours to try."""

    id: UUID
    claimed_until: datetime
    """Also tells this claim from a later one."""
    attempts: int
    """Those that were made before."""
    receiver: Receiver
    event: RecordedEvent


@dataclass(frozen=True, slots=True, kw_only=True)
class Replayed:
    """How far a replay got."""

    deliveries: int
    position: int
    """The last one that it looked at: go on behind it."""
    more: bool
    """Whether it stopped at its limit."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FannedOut:
    """How many events were looked at, and how many deliveries that made."""

    events: int
    deliveries: int


def hear_from_now(tx: Connection) -> int:
    """Return the last position, and let no event be fanned out until the commit.

    An endpoint that is made or enabled in this transaction with that as its `after_position` hears
    of every later event, and of no earlier one. Call it before touching the endpoint's row.
    """
    tx.execute(BEGIN)
    tx.execute(HOLD)
    row = tx.execute(LAST).fetchone()
    return row[0] if row else 0


def fan_out(tx: Connection, limit: int) -> FannedOut:
    """Make the deliveries of up to `limit` further events."""
    held = tx.execute(HOLD).fetchone()
    if held is None:  # there has never been an endpoint
        return FannedOut(events=0, deliveries=0)
    row = tx.execute(FAN_OUT, {"after": held[0], "limit": limit}).fetchone()
    events, deliveries = row or (0, 0)
    return FannedOut(events=events, deliveries=deliveries)


def claim(tx: Connection, *, limit: int, each: int, hold: timedelta) -> list[ClaimedDelivery]:
    """Take up to `limit` due deliveries for as long as `hold`, up to `each` in flight a receiver.

    They are in the order of positions; of two with the same receiver and video, the second one can
    only be claimed once the first has ended.
    """
    with tx.cursor(binary=True) as cursor:
        cursor.execute(CLAIM, {"limit": limit, "each": each, "hold": hold})
        return [
            ClaimedDelivery(
                id=row[0],
                claimed_until=row[1],
                attempts=row[2],
                receiver=Receiver(
                    id=row[3],
                    workspace_id=row[4],
                    url=row[5],
                    secret=row[6],
                    previous_secret=row[7],
                    previous_secret_until=row[8],
                ),
                event=RecordedEvent(
                    position=row[9],
                    id=row[10],
                    type=row[11],
                    subject=row[12],
                    workspace_id=row[13],
                    occurred_at=row[14],
                    revision=row[15],
                    command_id=row[16],
                    correlation_id=row[17],
                    traceparent=row[18],
                    data=row[19],
                ),
            )
            for row in cursor
        ]


def judge(tx: Connection, health: Sequence[Health], patience: timedelta) -> list[DisabledEndpoint]:
    """Write what tries say of their endpoints; return those that were disabled for it.

    Comes before `settle`, as endpoints are locked before deliveries.
    """
    parameters = {"health": to_json(health).decode(), "patience": patience}
    return [
        DisabledEndpoint(
            id=row[0],
            workspace_id=row[1],
            url=row[2],
            reason=row[3],
            detail=row[4],
            disabled_at=row[5],
        )
        for row in tx.execute(JUDGE, parameters).fetchall()
        if row[6]
    ]


def settle(tx: Connection, results: Sequence[Settled]) -> None:
    """Log tries, and write what becomes of their deliveries."""
    rows = [
        {
            "attempt_id": uuid7(),
            "delivery_id": result.delivery_id,
            "claimed_until": result.claimed_until,
            "state": result.state,
            "pause": result.pause.total_seconds(),
            "started_at": result.attempt.started_at,
            "duration_ms": result.attempt.duration_ms,
            "status": result.attempt.status,
            "error": result.attempt.error,
            "answer": result.attempt.answer,
        }
        for result in results
    ]
    tx.execute(SETTLE, {"results": to_json(rows).decode()})


def cancel_pending(tx: Connection, *endpoint_ids: UUID) -> int:
    """Give up what is pending at endpoints that were disabled; return how much."""
    return tx.execute(CANCEL, {"endpoints": list(endpoint_ids)}).rowcount


def replay_one(tx: Connection, endpoint_id: UUID, delivery_id: UUID) -> bool:
    """Begin a delivery anew; False if there is none, or its event is not kept any more.

    One that is being tried at this moment is left alone.
    """
    row = tx.execute(REPLAY_ONE, {"id": delivery_id, "endpoint_id": endpoint_id}).fetchone()
    return bool(row and row[0])


def replay_after(tx: Connection, endpoint_id: UUID, *, after: int, limit: int = 10_000) -> Replayed:
    """Begin anew everything behind a position that the endpoint's filter lets through.

    Also what it was never told of, because it was disabled or not there yet.
    """
    parameters = {"endpoint_id": endpoint_id, "after": after, "limit": limit}
    row = tx.execute(REPLAY_AFTER, parameters).fetchone()
    count, position = row or (0, after)
    return Replayed(deliveries=count, position=position, more=count == limit)


def replay_failed(tx: Connection, endpoint_id: UUID) -> int:
    """Begin anew everything that has failed for good; return how much."""
    return tx.execute(REPLAY_FAILED, {"endpoint_id": endpoint_id}).rowcount


def needed_from(tx: Connection) -> int | None:
    """Return the first position that is still to be fanned out or delivered, if any is."""
    row = tx.execute(NEEDED_FROM).fetchone()
    return row[0] if row else None


def prune(tx: Connection, *, age: timedelta, limit: int) -> int:
    """Forget up to `limit` deliveries that ended longer than `age` ago, with their attempts."""
    return tx.execute(PRUNE, {"age": age, "limit": limit}).rowcount
