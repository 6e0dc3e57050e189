"""Addresses of iCal feeds in SQL: insert, find by digest, list, revoke."""

from uuid import UUID

from psycopg.rows import class_row

from db.session import Connection
from schemas.values.calendar_feed import CalendarFeed

_COLUMNS = "id, workspace_id, created_at, created_by, revoked_at, last_read_at"

# Insert an address.
INSERT = """
INSERT INTO publisher.calendar_feed (id, digest, workspace_id, created_by)
VALUES (%(id)s, %(digest)s, %(workspace_id)s, %(created_by)s)
"""

# The workspace of an address that is not revoked. That it was read is noted once a minute.
FIND = """
WITH feed AS (
    SELECT id, workspace_id, last_read_at FROM publisher.calendar_feed
    WHERE digest = %(digest)s AND revoked_at IS NULL
), noted AS (
    UPDATE publisher.calendar_feed f SET last_read_at = now() FROM feed
    WHERE f.id = feed.id
      AND (feed.last_read_at IS NULL OR feed.last_read_at < now() - interval '1 minute')
)
SELECT workspace_id FROM feed
"""

# Addresses, the newest first, of a workspace.
LIST = f"""
SELECT {_COLUMNS} FROM publisher.calendar_feed
WHERE %(workspace_id)s::bigint IS NULL OR workspace_id = %(workspace_id)s
ORDER BY id DESC LIMIT 200
"""

# The number of valid addresses of a workspace.
COUNT = """
SELECT count(*) FROM publisher.calendar_feed
WHERE workspace_id = %(workspace_id)s AND revoked_at IS NULL
"""

# Revoke an address.
REVOKE = """
UPDATE publisher.calendar_feed SET revoked_at = now()
WHERE id = %(id)s AND revoked_at IS NULL
  AND (%(within)s::bigint IS NULL OR workspace_id = %(within)s)
RETURNING workspace_id
"""


def insert(
    tx: Connection, *, feed_id: UUID, digest: bytes, workspace_id: int, created_by: UUID | None
) -> None:
    """Insert an address."""
    values = {
        "id": feed_id,
        "digest": digest,
        "workspace_id": workspace_id,
        "created_by": created_by,
    }
    tx.execute(INSERT, values)


def find(tx: Connection, digest: bytes) -> int | None:
    """Find the workspace of a valid address. None: unknown or revoked."""
    row = tx.execute(FIND, {"digest": digest}).fetchone()
    return row[0] if row else None


def read_all(tx: Connection, workspace_id: int | None) -> list[CalendarFeed]:
    """Read the newest 200 addresses of a workspace (None: of all)."""
    with tx.cursor(row_factory=class_row(CalendarFeed)) as cursor:
        return cursor.execute(LIST, {"workspace_id": workspace_id}).fetchall()


def count_valid(tx: Connection, workspace_id: int) -> int:
    """Count the valid addresses of a workspace."""
    row = tx.execute(COUNT, {"workspace_id": workspace_id}).fetchone()
    return row[0] if row else 0


def revoke(tx: Connection, feed_id: UUID, within: int | None) -> int | None:
    """Revoke an address in one workspace (None: any); return its workspace. None: there is none."""
    row = tx.execute(REVOKE, {"id": feed_id, "within": within}).fetchone()
    return row[0] if row else None
