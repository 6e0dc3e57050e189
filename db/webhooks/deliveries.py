"""Deliveries in SQL: claim due ones, write the results of attempts, cancel, prune.

Lock order for a transaction that locks several kinds of rows: the outlet, endpoints, deliveries.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from datetime import datetime, timedelta
from uuid import UUID

from psycopg.rows import class_row
from pydantic_core import to_json
from uuid_utils.compat import uuid7

from db.session import Connection
from publish_worker_client.events.data import EndpointDisabled
from publish_worker_client.events.outbox import RecordedEvent
from schemas.values.delivery import DeliveryResult, EndpointHealth, Receiver

# The endpoints with pending deliveries: a loose index scan, one step for each.
PENDING_AT = """WITH RECURSIVE pending_at (endpoint_id) AS (
    (SELECT endpoint_id FROM publisher.webhook_delivery
     WHERE state = 'pending' ORDER BY endpoint_id LIMIT 1)
    UNION ALL
    SELECT (SELECT d.endpoint_id FROM publisher.webhook_delivery d
            WHERE d.state = 'pending' AND d.endpoint_id > pending_at.endpoint_id
            ORDER BY d.endpoint_id LIMIT 1)
    FROM pending_at WHERE pending_at.endpoint_id IS NOT NULL
)"""

# Claim due deliveries, fairly: workspaces with the fewest requests in flight first, and in each the
# endpoints with the fewest. At most `each` are in flight per endpoint and `of_workspace` per
# workspace, so that neither blocks another; a failing endpoint gets one request at a time. A
# delivery waits for every earlier one of its endpoint and video. The endpoints with pending
# deliveries are found by a loose index scan: one step per endpoint. Workspaces are looked at until
# `limit` deliveries are found. The columns are in the order of the dataclasses.
CLAIM = f"""
{PENDING_AT},
endpoint AS MATERIALIZED (
    SELECT e.id, e.workspace_id, flight.count AS in_flight,
           CASE WHEN e.failing_since IS NULL THEN %(each)s ELSE 1 END - flight.count AS free
    FROM pending_at JOIN publisher.webhook_endpoint e ON e.id = pending_at.endpoint_id
    CROSS JOIN LATERAL (
        SELECT count(*) FROM publisher.webhook_delivery f
        WHERE f.endpoint_id = e.id AND f.state = 'pending' AND f.claimed_until > now()
    ) flight
    WHERE e.state = 'enabled'
),
workspace AS MATERIALIZED (
    SELECT workspace_id AS id, sum(in_flight)::int AS in_flight FROM endpoint
    GROUP BY workspace_id
    ORDER BY in_flight, random()
),
candidate AS MATERIALIZED (
    SELECT c.id
    FROM workspace
    CROSS JOIN LATERAL (
        SELECT d.id
        FROM endpoint
        CROSS JOIN LATERAL (
            SELECT d.id, row_number() OVER (ORDER BY d.due_at, d.position) AS nth
            FROM publisher.webhook_delivery d
            WHERE d.endpoint_id = endpoint.id AND d.state = 'pending' AND d.due_at <= now()
              AND NOT EXISTS (
                  SELECT FROM publisher.webhook_delivery earlier
                  WHERE earlier.endpoint_id = d.endpoint_id AND earlier.video_id = d.video_id
                    AND earlier.position < d.position AND earlier.state = 'pending'
              )
            ORDER BY d.due_at, d.position
            LIMIT greatest(endpoint.free, 0)
        ) d
        WHERE endpoint.workspace_id = workspace.id
        ORDER BY endpoint.in_flight + d.nth, random()
        LIMIT greatest(%(of_workspace)s - workspace.in_flight, 0)
    ) c
    LIMIT %(limit)s
),
due AS (
    SELECT d.id FROM candidate JOIN publisher.webhook_delivery d ON d.id = candidate.id
    WHERE d.state = 'pending' AND d.due_at <= now()
    FOR UPDATE OF d SKIP LOCKED
),
claimed AS (
    UPDATE publisher.webhook_delivery d
    SET claimed_until = now() + %(lease)s, due_at = now() + %(lease)s
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

# Update the health of endpoints where it has changed. Disable those that answered 410 and those
# with failures only for `patience`. Return the disabled ones.
UPDATE_HEALTH = """
WITH health AS (
    SELECT * FROM json_to_recordset(%(health)s::json) AS (
        endpoint_id uuid, succeeded bool, failing_since timestamptz, gone bool, detail text)
),
changed AS (
    SELECT e.id, h.gone, h.detail,
           CASE WHEN h.succeeded THEN h.failing_since
                ELSE coalesce(e.failing_since, h.failing_since) END AS failing_since,
           NOT h.succeeded AND coalesce(e.failing_since <= now() - %(patience)s, false) AS failing
    FROM health h JOIN publisher.webhook_endpoint e ON e.id = h.endpoint_id
    WHERE e.state = 'enabled'
      AND (h.gone
           OR NOT h.succeeded
              AND (e.failing_since IS NULL OR e.failing_since <= now() - %(patience)s)
           OR h.succeeded AND e.failing_since IS DISTINCT FROM h.failing_since)
    ORDER BY e.id
    FOR NO KEY UPDATE OF e
),
written AS (
    UPDATE publisher.webhook_endpoint e
    SET failing_since = changed.failing_since,
        state = CASE WHEN gone OR failing THEN 'disabled' ELSE e.state END,
        disabled_reason = CASE WHEN gone THEN 'gone' WHEN failing THEN 'failing' END
    FROM changed WHERE e.id = changed.id
    RETURNING e.id AS endpoint_id, e.workspace_id, e.url, e.disabled_reason AS reason,
              changed.detail, now() AS disabled_at, e.state
)
SELECT endpoint_id, workspace_id, url, reason, detail, disabled_at FROM written
WHERE state = 'disabled'
"""

# Log attempts, and write the states of their deliveries unless one was claimed again, cancelled or
# replayed meanwhile. Later deliveries of the same endpoint and video become due together with the
# retry of an earlier one, or now if that one has ended.
WRITE_RESULTS = """
WITH result AS MATERIALIZED (
    SELECT * FROM json_to_recordset(%(results)s::json) AS (
        attempt_id uuid, delivery_id uuid, claimed_until timestamptz, state text, pause float8,
        started_at timestamptz, duration_ms int, status int, error text, answer text)
),
locked AS MATERIALIZED (
    SELECT d.id, d.endpoint_id, d.video_id, d.position
    FROM publisher.webhook_delivery d
    WHERE d.id IN (SELECT delivery_id FROM result)
    ORDER BY d.id
    FOR NO KEY UPDATE
),
later AS (
    UPDATE publisher.webhook_delivery d
    SET due_at = now() + r.pause * interval '1 second'
    FROM locked JOIN result r ON r.delivery_id = locked.id
    WHERE d.endpoint_id = locked.endpoint_id AND d.video_id = locked.video_id
      AND d.position > locked.position
      AND d.state = 'pending' AND d.attempts = 0 AND d.claimed_until IS NULL
      AND CASE WHEN r.state = 'pending' THEN d.due_at < now() + r.pause * interval '1 second'
               ELSE d.due_at > now() END
),
written AS (
    UPDATE publisher.webhook_delivery d
    SET state = r.state, attempts = d.attempts + 1, claimed_until = NULL,
        due_at = now() + r.pause * interval '1 second',
        finished_at = CASE WHEN r.state <> 'pending' THEN now() END
    FROM locked JOIN result r ON r.delivery_id = locked.id
    WHERE d.id = locked.id AND d.state = 'pending' AND d.claimed_until = r.claimed_until
)
INSERT INTO publisher.webhook_attempt
    (id, delivery_id, started_at, duration_ms, status, error, answer)
SELECT attempt_id, delivery_id, started_at, duration_ms, status, error, answer
FROM result JOIN locked ON locked.id = delivery_id
"""

# Cancel the pending deliveries of these endpoints.
CANCEL = """
UPDATE publisher.webhook_delivery SET state = 'cancelled', claimed_until = NULL, finished_at = now()
WHERE endpoint_id = ANY(%(endpoints)s) AND state = 'pending'
"""

# Delete deliveries that ended long ago, with their attempts; a limited number at a time.
PRUNE = """
DELETE FROM publisher.webhook_delivery WHERE id IN (
    SELECT id FROM publisher.webhook_delivery WHERE finished_at < now() - %(age)s LIMIT %(limit)s
)
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class ClaimedDelivery:
    """A delivery that this process may attempt until `claimed_until`."""

    id: UUID
    claimed_until: datetime
    """Also identifies this claim: a later claim has a later time."""
    attempts: int
    """The number of attempts before this one."""
    receiver: Receiver
    event: RecordedEvent


_RECEIVER = [field.name for field in fields(Receiver)]
_EVENT = [field.name for field in fields(RecordedEvent)]
_EVENT_COLUMN = 3 + len(_RECEIVER)


def claim(
    tx: Connection, *, limit: int, each: int, of_workspace: int, lease: timedelta
) -> list[ClaimedDelivery]:
    """Claim up to `limit` due deliveries for the time `lease`, in the order of positions.

    At most `each` are in flight per endpoint, and `of_workspace` per workspace. The deliveries of
    one video to one endpoint are claimed one after another.
    """
    values = {"limit": limit, "each": each, "of_workspace": of_workspace, "lease": lease}
    with tx.cursor(binary=True) as cursor:
        cursor.execute(CLAIM, values)
        return [
            ClaimedDelivery(
                id=row[0],
                claimed_until=row[1],
                attempts=row[2],
                receiver=Receiver(**dict(zip(_RECEIVER, row[3:_EVENT_COLUMN], strict=True))),
                event=RecordedEvent(**dict(zip(_EVENT, row[_EVENT_COLUMN:], strict=True))),
            )
            for row in cursor
        ]


def update_health(
    tx: Connection, health: Sequence[EndpointHealth], patience: timedelta
) -> list[EndpointDisabled]:
    """Update the health of endpoints; return those that this disabled.

    Call it before `write_results`, because endpoints are locked before deliveries.
    """
    values = {"health": to_json(health).decode(), "patience": patience}
    with tx.cursor(row_factory=class_row(EndpointDisabled)) as cursor:
        return cursor.execute(UPDATE_HEALTH, values).fetchall()


def write_results(tx: Connection, results: Sequence[DeliveryResult]) -> None:
    """Log attempts, and write the states of their deliveries."""
    rows = [
        asdict(result.attempt)
        | {
            "attempt_id": uuid7(),
            "delivery_id": result.delivery_id,
            "claimed_until": result.claimed_until,
            "state": result.state,
            "pause": result.pause.total_seconds(),
        }
        for result in results
    ]
    tx.execute(WRITE_RESULTS, {"results": to_json(rows).decode()})


def cancel_pending(tx: Connection, *endpoint_ids: UUID) -> None:
    """Cancel what is pending at endpoints that were disabled."""
    tx.execute(CANCEL, {"endpoints": list(endpoint_ids)})


def prune(tx: Connection, *, age: timedelta, limit: int) -> int:
    """Delete up to `limit` deliveries that ended longer than `age` ago; return how many."""
    return tx.execute(PRUNE, {"age": age, "limit": limit}).rowcount
