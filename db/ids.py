"""Ids by their beginning, and optionally their end, in SQL: people type and read them short."""

from enum import Enum
from typing import TYPE_CHECKING
from uuid import UUID

if TYPE_CHECKING:  # `publish-worker` reads IdOf to print a help text
    from db.session import Connection


class IdOf(Enum):
    """The kinds of things whose ids people type; the value is the query of all ids."""

    COMMAND = "SELECT id FROM publisher.publish_command WHERE trigger <> 'canary'"
    ENDPOINT = "SELECT id FROM publisher.webhook_endpoint"
    DELIVERY = "SELECT id FROM publisher.webhook_delivery"
    KEY = "SELECT id FROM publisher.api_key"
    SESSION = """
SELECT id FROM publisher.console_session
UNION SELECT person_id FROM publisher.console_session WHERE person_id IS NOT NULL
UNION SELECT key_id FROM publisher.console_session WHERE key_id IS NOT NULL"""


# The first ids of a range, which the index of the primary key has, that end in this way.
FIND = """
SELECT id FROM ({source}) AS known (id)
WHERE id BETWEEN %(lowest)s AND %(highest)s AND right(id::text, %(length)s) = %(end)s
ORDER BY id LIMIT %(limit)s
"""
STATEMENTS = {kind: FIND.format(source=kind.value) for kind in IdOf}


def find(tx: "Connection", kind: IdOf, begin: str, end: str, limit: int) -> list[UUID]:
    """Find up to `limit` ids by their first hexadecimal digits, and their last ones ("": any)."""
    values = {
        "lowest": UUID(begin.ljust(32, "0")),
        "highest": UUID(begin.ljust(32, "f")),
        "end": end,
        "length": len(end),
        "limit": limit,
    }
    return [row[0] for row in tx.execute(STATEMENTS[kind].encode(), values)]
