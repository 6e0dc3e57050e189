"""Idempotency keys in SQL: store the first request with a key, and find it again."""

from collections.abc import Iterable
from datetime import timedelta
from uuid import UUID

from db.session import Connection, to_array

# Store a key with the digest and the commands of its request, unless it is stored.
REMEMBER = """
INSERT INTO publisher.idempotency_key (scope, key, digest, command_ids)
VALUES (%(scope)s, %(key)s, %(digest)s, %(command_ids)s::uuid[])
ON CONFLICT (scope, key) DO NOTHING
"""

# The digest and the commands of a key.
RECALL = """
SELECT digest, command_ids FROM publisher.idempotency_key
WHERE scope = %(scope)s AND key = %(key)s
"""

# Delete old idempotency keys, a limited number at a time.
PRUNE = """
DELETE FROM publisher.idempotency_key WHERE (scope, key) IN (
    SELECT scope, key FROM publisher.idempotency_key
    WHERE created_at < now() - %(age)s ORDER BY created_at LIMIT %(limit)s
)
"""


def remember(
    tx: Connection, *, scope: str, key: str, digest: bytes, command_ids: Iterable[UUID]
) -> bool:
    """Store a key; False if it is stored already.

    Waits for a transaction that is noting the same key at this moment.
    """
    values = {"scope": scope, "key": key, "digest": digest, "command_ids": to_array(command_ids)}
    return tx.execute(REMEMBER, values).rowcount == 1


def recall(tx: Connection, *, scope: str, key: str) -> tuple[bytes, list[UUID]] | None:
    """Return the digest and the commands of a key. None: the key is unknown."""
    row = tx.execute(RECALL, {"scope": scope, "key": key}).fetchone()
    return (bytes(row[0]), row[1]) if row else None


def prune(tx: Connection, *, age: timedelta, limit: int) -> int:
    """Delete up to `limit` idempotency keys older than `age`."""
    return tx.execute(PRUNE, {"age": age, "limit": limit}).rowcount
