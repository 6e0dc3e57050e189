"""The backlog of webhooks in SQL: how many deliveries wait, and for how long."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from psycopg.rows import args_row, class_row

from db.session import Answer, Connection, to_array
from db.webhooks.deliveries import PENDING_AT

MOST = 1_000
"""The count for one endpoint stops here."""

# The pending deliveries of enabled endpoints. The endpoints that have one are found one by one in
# an index, and each one's earliest due deliveries are counted.
READ = f"""
{PENDING_AT}
SELECT coalesce(sum(waiting.count), 0)::bigint, min(waiting.since),
       count(*) FILTER (WHERE e.failing_since IS NOT NULL)
FROM pending_at JOIN publisher.webhook_endpoint e ON e.id = pending_at.endpoint_id
CROSS JOIN LATERAL (
    SELECT count(*), min(created_at) AS since FROM (
        SELECT created_at FROM publisher.webhook_delivery d
        WHERE d.endpoint_id = e.id AND d.state = 'pending'
        ORDER BY due_at, position LIMIT %(most)s
    ) first
) waiting
WHERE e.state = 'enabled'
  AND (%(workspace_id)s::bigint IS NULL OR e.workspace_id = %(workspace_id)s)
"""

_COUNT_FAILED = """CROSS JOIN LATERAL (
    SELECT count(*) FROM (
        SELECT FROM publisher.webhook_delivery d
        WHERE d.endpoint_id = e.id AND d.state = 'failed'
        ORDER BY position LIMIT %(most)s
    ) first
) failed"""

# Of each of these endpoints: how many deliveries wait, for how long, and how many have failed.
READ_EACH = f"""
SELECT e.id AS endpoint_id, waiting.count AS deliveries, waiting.seconds, failed.count AS failed
FROM unnest(%(ids)s::uuid[]) AS e (id)
CROSS JOIN LATERAL (
    SELECT count(*), extract(epoch FROM now() - min(created_at))::float8 AS seconds FROM (
        SELECT created_at FROM publisher.webhook_delivery d
        WHERE d.endpoint_id = e.id AND d.state = 'pending'
        ORDER BY due_at, position LIMIT %(most)s
    ) first
) waiting
{_COUNT_FAILED}
"""

# The ten endpoints with the most deliveries whose last attempt has failed.
READ_FAILED = f"""
SELECT e.id AS endpoint_id, e.url, e.workspace_id, e.state, failed.count AS deliveries
FROM publisher.webhook_endpoint e
{_COUNT_FAILED}
WHERE failed.count > 0 AND (%(workspace_id)s::bigint IS NULL OR e.workspace_id = %(workspace_id)s)
ORDER BY failed.count DESC, e.id
LIMIT 10
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class EndpointBacklog:
    """What one endpoint has not received."""

    endpoint_id: UUID
    deliveries: int
    """Deliveries that wait; at most `MOST` are counted."""
    seconds: float | None
    """How long the oldest of them has waited. None: none waits."""
    failed: int
    """Deliveries whose last attempt has failed; at most `MOST` are counted."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FailedDeliveries:
    """The failed deliveries of one endpoint."""

    endpoint_id: UUID
    url: str
    workspace_id: int
    state: str
    deliveries: int
    """At most `MOST` are counted."""


@dataclass(frozen=True, slots=True)
class DeliveryBacklog:
    """Deliveries that wait."""

    deliveries: int
    """At most `MOST` are counted of each endpoint."""
    since: datetime | None
    """When the oldest of them was created. None: none waits."""
    failing_endpoints: int
    """Endpoints among theirs whose last attempt failed."""


def read(tx: Connection, workspace_id: int | None) -> Answer[DeliveryBacklog]:
    """Return the backlog of one workspace (None: all): in a pipeline."""
    values = {"most": MOST, "workspace_id": workspace_id}
    cursor = tx.cursor(row_factory=args_row(DeliveryBacklog)).execute(READ, values)
    return lambda: cursor.fetchall()[0]


def read_each(tx: Connection, ids: Iterable[UUID]) -> dict[UUID, EndpointBacklog]:
    """Return the backlog of each of these endpoints."""
    with tx.cursor(row_factory=class_row(EndpointBacklog)) as cursor:
        cursor.execute(READ_EACH, {"ids": to_array(ids), "most": MOST})
        return {each.endpoint_id: each for each in cursor}


def read_failed(tx: Connection, workspace_id: int | None) -> list[FailedDeliveries]:
    """Return the endpoints with failed deliveries, of one workspace (None: all)."""
    with tx.cursor(row_factory=class_row(FailedDeliveries)) as cursor:
        cursor.execute(READ_FAILED, {"most": MOST, "workspace_id": workspace_id})
        return cursor.fetchall()
