"""API keys in SQL: insert, find, list and revoke."""

from collections.abc import Iterable, Sequence
from uuid import UUID

from psycopg.rows import dict_row

from db.session import Connection, to_array
from schemas.values.caller import ApiKey, Caller, Scope

# Insert a key.
INSERT = """
INSERT INTO publisher.api_key (id, name, digest, scope, workspace_id)
VALUES (%(id)s, %(name)s, %(digest)s, %(scope)s, %(workspace_id)s)
"""

# The key with this hash, unless it is revoked.
FIND = """
SELECT id, scope, workspace_id FROM publisher.api_key
WHERE digest = %(digest)s AND revoked_at IS NULL
"""

# The keys with these hashes, unless they are revoked.
FIND_ALL = """
SELECT digest, id, scope, workspace_id FROM publisher.api_key
WHERE digest = ANY(%(digests)s::bytea[]) AND revoked_at IS NULL
"""

# The keys among these that are not revoked.
VALID = """
SELECT id FROM publisher.api_key WHERE id = ANY(%(ids)s::uuid[]) AND revoked_at IS NULL
"""

# All keys, oldest first.
LIST = """
SELECT id, name, scope, workspace_id, created_at, revoked_at FROM publisher.api_key ORDER BY id
"""

# Revoke a key.
REVOKE = """
UPDATE publisher.api_key SET revoked_at = now() WHERE id = %(id)s AND revoked_at IS NULL
"""

# Whether the workspace exists.
WORKSPACE = "SELECT EXISTS (SELECT FROM workspace WHERE id = %(id)s)"


def insert(
    tx: Connection,
    *,
    key_id: UUID,
    name: str,
    digest: bytes,
    scope: Scope,
    workspace_id: int | None,
) -> None:
    """Insert a key."""
    values = {
        "id": key_id,
        "name": name,
        "digest": digest,
        "scope": scope.value,
        "workspace_id": workspace_id,
    }
    tx.execute(INSERT, values)


def find(tx: Connection, digest: bytes) -> Caller | None:
    """Find a key by its hash. None: unknown or revoked."""
    row = tx.execute(FIND, {"digest": digest}).fetchone()
    return Caller(key_id=row[0], scope=Scope(row[1]), workspace_id=row[2]) if row else None


def find_all(tx: Connection, digests: Sequence[bytes]) -> dict[bytes, Caller]:
    """Find keys by their hashes. Those that are unknown or revoked are omitted."""
    cursor = tx.cursor(binary=True).execute(FIND_ALL, {"digests": list(digests)})
    return {
        digest: Caller(key_id=key_id, scope=Scope(scope), workspace_id=workspace_id)
        for digest, key_id, scope, workspace_id in cursor
    }


def read_valid(tx: Connection, ids: Iterable[UUID]) -> set[UUID]:
    """Return the keys among `ids` that are not revoked."""
    return {row[0] for row in tx.execute(VALID, {"ids": to_array(ids)})}


def read_all(tx: Connection) -> list[ApiKey]:
    """Read all keys, oldest first."""
    with tx.cursor(row_factory=dict_row) as cursor:
        return [ApiKey.model_validate(row) for row in cursor.execute(LIST)]


def revoke(tx: Connection, key_id: UUID) -> bool:
    """Revoke a key. False: unknown or already revoked."""
    return tx.execute(REVOKE, {"id": key_id}).rowcount == 1


def has_workspace(tx: Connection, workspace_id: int) -> bool:
    """Whether the workspace exists."""
    row = tx.execute(WORKSPACE, {"id": workspace_id}).fetchone()
    return bool(row and row[0])
