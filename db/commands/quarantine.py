"""Quarantined messages in SQL, for the person who reads them: list, read, take."""

from dataclasses import dataclass
from datetime import datetime

from psycopg.rows import class_row

from db.session import Connection
from schemas.values.page import Page, to_page

SHOWN_CHARACTERS = 2_000
"""Of a body in a list."""

# A page of messages before a given one, the newest first, each with the beginning of its body.
LIST = """
SELECT id, received_at, left(body, %(shown)s) AS body, length(body) AS characters, error
FROM publisher.quarantined_message
WHERE %(before)s::bigint IS NULL OR id < %(before)s
ORDER BY id DESC LIMIT %(limit)s
"""

# One message's whole body.
BODY = "SELECT body FROM publisher.quarantined_message WHERE id = %(id)s"

# Take a message: delete it and return its body. A rollback keeps it.
TAKE = "DELETE FROM publisher.quarantined_message WHERE id = %(id)s RETURNING body"


@dataclass(frozen=True, slots=True, kw_only=True)
class QuarantinedMessage:
    """A message or report that could not be read or carried out."""

    id: int
    received_at: datetime
    body: str
    """Its beginning."""
    characters: int
    """Of the whole body."""
    error: str


def list_page(tx: Connection, before: int | None, limit: int) -> Page[QuarantinedMessage]:
    """Read a page of messages, the newest first."""
    values = {"before": before, "limit": limit + 1, "shown": SHOWN_CHARACTERS}
    with tx.cursor(row_factory=class_row(QuarantinedMessage)) as cursor:
        return to_page(cursor.execute(LIST, values).fetchall(), limit)


def read_body(tx: Connection, message_id: int) -> str | None:
    """Read a message's body. None: there is no such message."""
    row = tx.execute(BODY, {"id": message_id}).fetchone()
    return row[0] if row else None


def take(tx: Connection, message_id: int) -> str | None:
    """Delete a message and return its body. None: there is no such message."""
    row = tx.execute(TAKE, {"id": message_id}).fetchone()
    return row[0] if row else None
