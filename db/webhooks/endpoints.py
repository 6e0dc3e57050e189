"""Webhook endpoints: the statements. One of them reads the secrets, to sign with them."""

from dataclasses import asdict, dataclass, field
from datetime import datetime, timedelta
from uuid import UUID

from psycopg.rows import class_row

from db.session import Connection
from schemas.values.delivery import Receiver
from schemas.webhook import MAX_ENDPOINTS, EndpointFilter

_COLUMNS = """id, workspace_id, url, description, event_types, state, disabled_reason,
    failing_since, created_at,
    CASE WHEN previous_secret_until > now() THEN previous_secret_until END
        AS previous_secret_until"""

# Make an endpoint, unless the workspace has as many as it may have. The count is true, as whoever
# makes one holds the outlet's row: see webhook_delivery.hear_from_now.
INSERT = """
INSERT INTO publisher.webhook_endpoint
    (id, workspace_id, url, description, event_types, secret, after_position)
SELECT %(id)s, %(workspace_id)s, %(url)s, %(description)s, %(event_types)s::text[], %(secret)s,
       %(after)s
WHERE (
    SELECT count(*) FROM publisher.webhook_endpoint WHERE workspace_id = %(workspace_id)s
) < %(limit)s
"""

_FIND = f"""
SELECT {_COLUMNS} FROM publisher.webhook_endpoint
WHERE id = %(id)s AND (%(workspace_id)s::bigint IS NULL OR workspace_id = %(workspace_id)s)
"""

# An endpoint, as far as the caller's workspace goes.
SHOW = _FIND

# The same, for a change: whoever changes it, or replays, does so one after another. Its key stays
# free, so that deliveries can be made meanwhile.
HOLD = f"{_FIND} FOR NO KEY UPDATE"

# A page of endpoints, newest first, before a given one.
LIST = f"""
SELECT {_COLUMNS} FROM publisher.webhook_endpoint
WHERE (%(workspace_id)s::bigint IS NULL OR workspace_id = %(workspace_id)s)
  AND (%(before)s::uuid IS NULL OR id < %(before)s)
ORDER BY id DESC
LIMIT %(limit)s
"""

# Write an endpoint's new self; one at another address, or enabled, has not failed yet.
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

# Put a new secret in the place of the one that signs; that one signs too for a while.
ROTATE = """
UPDATE publisher.webhook_endpoint
SET previous_secret = secret, previous_secret_until = now() + %(overlap)s, secret = %(secret)s
WHERE id = %(id)s
"""

# Where to send, and what signs.
RECEIVER = """
SELECT id, workspace_id, url, secret, previous_secret, previous_secret_until
FROM publisher.webhook_endpoint WHERE id = %(id)s
"""

# Remove an endpoint, with its deliveries and their attempts.
DELETE = "DELETE FROM publisher.webhook_endpoint WHERE id = %(id)s"


@dataclass(frozen=True, slots=True, kw_only=True)
class NewEndpointRow:
    """An endpoint about to be made."""

    id: UUID
    workspace_id: int
    url: str
    description: str
    event_types: list[str] | None
    secret: str = field(repr=False)
    after: int
    """It is told of events behind this position."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EndpointRow:
    """An endpoint as it stands, without its secrets."""

    id: UUID
    workspace_id: int
    url: str
    description: str
    event_types: list[str] | None
    state: str
    disabled_reason: str | None
    failing_since: datetime | None
    previous_secret_until: datetime | None
    created_at: datetime


def insert(tx: Connection, new: NewEndpointRow) -> bool:
    """Make an endpoint; False if the workspace has as many as it may have."""
    return tx.execute(INSERT, asdict(new) | {"limit": MAX_ENDPOINTS}).rowcount == 1


def show(
    tx: Connection, endpoint_id: UUID, workspace_id: int | None, *, hold: bool = False
) -> EndpointRow | None:
    """Read an endpoint (`hold`: for a change); what lies in another workspace does not exist."""
    values = {"id": endpoint_id, "workspace_id": workspace_id}
    with tx.cursor(row_factory=class_row(EndpointRow)) as cursor:
        return cursor.execute(HOLD if hold else SHOW, values).fetchone()


def page(
    tx: Connection, wanted: EndpointFilter, *, workspace_id: int | None, limit: int
) -> list[EndpointRow]:
    """Read a page of endpoints, newest first, of one workspace or all."""
    values = {"workspace_id": workspace_id, "before": wanted.before, "limit": limit}
    with tx.cursor(row_factory=class_row(EndpointRow)) as cursor:
        return cursor.execute(LIST, values).fetchall()


def update(tx: Connection, new: EndpointRow, *, after: int | None) -> None:
    """Write url, description, event types and state; told of events behind `after`, if changed."""
    tx.execute(UPDATE, asdict(new) | {"after": after})


def rotate(tx: Connection, endpoint_id: UUID, secret: str, overlap: timedelta) -> None:
    """Let a new secret sign, and the one before it too for `overlap`."""
    tx.execute(ROTATE, {"id": endpoint_id, "secret": secret, "overlap": overlap})


def receiver(tx: Connection, endpoint_id: UUID) -> Receiver | None:
    """Read where to send, and what signs."""
    with tx.cursor(row_factory=class_row(Receiver)) as cursor:
        return cursor.execute(RECEIVER, {"id": endpoint_id}).fetchone()


def delete(tx: Connection, endpoint_id: UUID) -> None:
    """Remove an endpoint, with its deliveries and their attempts."""
    tx.execute(DELETE, {"id": endpoint_id})
