"""Webhook endpoints in SQL. Only RECEIVER reads the secrets, for signing."""

from datetime import timedelta
from typing import Any
from uuid import UUID

from psycopg.rows import class_row

from db.session import Connection
from schemas.values.delivery import Receiver
from schemas.values.page import Page, to_page
from schemas.webhook import MAX_ENDPOINTS, EndpointFilter, WebhookEndpoint, WebhookRegistration

_COLUMNS = """id, workspace_id, url, description, event_types, state, disabled_reason,
    failing_since, created_at,
    CASE WHEN previous_secret_until > now() THEN previous_secret_until END
        AS previous_secret_until"""

# Insert an endpoint unless the workspace has reached its limit. The count is exact, because the
# transaction has locked the outlet's row: see db.webhooks.fan_out.lock_last_position.
INSERT = """
INSERT INTO publisher.webhook_endpoint
    (id, workspace_id, url, description, event_types, secret, after_position)
SELECT %(id)s, %(workspace_id)s, %(url)s, %(description)s, %(event_types)s::text[], %(secret)s,
       %(after)s
WHERE (
    SELECT count(*) FROM publisher.webhook_endpoint WHERE workspace_id = %(workspace_id)s
) < %(limit)s
"""

# An endpoint that the caller sees (workspace_id NULL: in every workspace).
READ = f"""
SELECT {_COLUMNS} FROM publisher.webhook_endpoint
WHERE id = %(id)s AND (%(workspace_id)s::bigint IS NULL OR workspace_id = %(workspace_id)s)
"""

# The same, locked for a change or a replay. Inserting its deliveries stays possible (NO KEY).
LOCK = f"{READ} FOR NO KEY UPDATE"

# A page of endpoints before a given one, the newest first.
LIST = f"""
SELECT {_COLUMNS} FROM publisher.webhook_endpoint
WHERE (%(workspace_id)s::bigint IS NULL OR workspace_id = %(workspace_id)s)
  AND (%(before)s::uuid IS NULL OR id < %(before)s)
ORDER BY id DESC
LIMIT %(limit)s
"""

# Change an endpoint. A new URL, and enabling, clear `failing_since`.
UPDATE = """
UPDATE publisher.webhook_endpoint SET
    failing_since = CASE WHEN url = %(url)s AND (state = 'enabled' OR %(state)s = 'disabled')
                         THEN failing_since END,
    disabled_reason = CASE WHEN %(state)s = 'disabled'
                           THEN coalesce(disabled_reason, 'requested') END,
    url = %(url)s, description = %(description)s, event_types = %(event_types)s::text[],
    state = %(state)s, after_position = coalesce(%(after)s, after_position)
WHERE id = %(id)s
"""

# Replace the secret; the previous one signs too for the time `overlap`.
ROTATE = """
UPDATE publisher.webhook_endpoint
SET previous_secret = secret, previous_secret_until = now() + %(overlap)s, secret = %(secret)s
WHERE id = %(id)s
"""

# The URL and the secrets of an endpoint.
RECEIVER = """
SELECT id, workspace_id, url, secret, previous_secret, previous_secret_until
FROM publisher.webhook_endpoint WHERE id = %(id)s
"""

# Delete an endpoint, with its deliveries and their attempts.
DELETE = "DELETE FROM publisher.webhook_endpoint WHERE id = %(id)s"


def insert(tx: Connection, endpoint_id: UUID, new: WebhookRegistration, **values: Any) -> bool:
    """Insert an endpoint; False if the workspace has reached its limit.

    `values`: workspace_id, secret, and after, the position after which it receives events.
    """
    values = new.model_dump(mode="json") | values | {"id": endpoint_id, "limit": MAX_ENDPOINTS}
    return tx.execute(INSERT, values).rowcount == 1


def read_endpoint(
    tx: Connection, endpoint_id: UUID, workspace_id: int | None, *, lock: bool = False
) -> WebhookEndpoint | None:
    """Read an endpoint, and lock it on request; None if the workspace has no such endpoint."""
    values = {"id": endpoint_id, "workspace_id": workspace_id}
    with tx.cursor(row_factory=class_row(WebhookEndpoint)) as cursor:
        return cursor.execute(LOCK if lock else READ, values).fetchone()


def list_page(tx: Connection, wanted: EndpointFilter) -> Page[WebhookEndpoint]:
    """Read a page of endpoints, the newest first."""
    values = wanted.model_dump() | {"limit": wanted.limit + 1}
    with tx.cursor(row_factory=class_row(WebhookEndpoint)) as cursor:
        return to_page(cursor.execute(LIST, values).fetchall(), wanted.limit)


def update(tx: Connection, new: WebhookEndpoint, *, after: int | None) -> None:
    """Write URL, description, event types and state; `after`: receive only later events."""
    tx.execute(UPDATE, new.model_dump(mode="json") | {"after": after})


def rotate(tx: Connection, endpoint_id: UUID, secret: str, overlap: timedelta) -> None:
    """Write a new secret; the previous one signs too for the time `overlap`."""
    tx.execute(ROTATE, {"id": endpoint_id, "secret": secret, "overlap": overlap})


def read_receiver(tx: Connection, endpoint_id: UUID) -> Receiver | None:
    """Read the URL and the secrets of an endpoint; None if it does not exist."""
    with tx.cursor(row_factory=class_row(Receiver)) as cursor:
        return cursor.execute(RECEIVER, {"id": endpoint_id}).fetchone()


def delete(tx: Connection, endpoint_id: UUID) -> None:
    """Delete an endpoint, with its deliveries and their attempts."""
    tx.execute(DELETE, {"id": endpoint_id})
