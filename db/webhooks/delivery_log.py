"""Deliveries in SQL as the owner of an endpoint sees them, with the attempts at each."""

from uuid import UUID

from psycopg.rows import class_row

from db.session import Connection
from schemas.values.page import Page, to_page
from schemas.webhook import DeliveryFilter, WebhookAttempt, WebhookDelivery

_COLUMNS = """id, endpoint_id, position, event_id, event_type, video_id, state, attempts, due_at,
    created_at, finished_at"""

# A page of an endpoint's deliveries before a position, the highest position first.
LIST = f"""
SELECT {_COLUMNS} FROM publisher.webhook_delivery
WHERE endpoint_id = %(endpoint_id)s
  AND (%(state)s::text IS NULL OR state = %(state)s)
  AND (%(before)s::bigint IS NULL OR position < %(before)s)
ORDER BY position DESC
LIMIT %(limit)s
"""

# One of an endpoint's deliveries.
SHOW = f"""
SELECT {_COLUMNS} FROM publisher.webhook_delivery
WHERE id = %(id)s AND endpoint_id = %(endpoint_id)s
"""

# The last attempts at a delivery, the latest first.
ATTEMPTS = """
SELECT id, started_at, duration_ms, status, error, answer FROM publisher.webhook_attempt
WHERE delivery_id = %(id)s
ORDER BY started_at DESC, id DESC
LIMIT %(limit)s
"""

MAX_ATTEMPTS = 100
"""The number of attempts shown with a delivery."""


def list_page(tx: Connection, endpoint_id: UUID, wanted: DeliveryFilter) -> Page[WebhookDelivery]:
    """Read a page of an endpoint's deliveries, the highest position first."""
    values = wanted.model_dump(mode="json")
    values |= {"endpoint_id": endpoint_id, "limit": wanted.limit + 1}
    with tx.cursor(row_factory=class_row(WebhookDelivery)) as cursor:
        return to_page(cursor.execute(LIST, values).fetchall(), wanted.limit)


def read_delivery(tx: Connection, endpoint_id: UUID, delivery_id: UUID) -> WebhookDelivery | None:
    """Read a delivery of an endpoint; None if the endpoint has no such delivery."""
    values = {"id": delivery_id, "endpoint_id": endpoint_id}
    with tx.cursor(row_factory=class_row(WebhookDelivery)) as cursor:
        return cursor.execute(SHOW, values).fetchone()


def read_attempts(tx: Connection, delivery_id: UUID) -> list[WebhookAttempt]:
    """Read the last attempts at a delivery, the latest first."""
    with tx.cursor(row_factory=class_row(WebhookAttempt)) as cursor:
        return cursor.execute(ATTEMPTS, {"id": delivery_id, "limit": MAX_ATTEMPTS}).fetchall()
