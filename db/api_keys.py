"""API keys in SQL: insert, find, list, revoke, and record their use."""

from collections.abc import Iterable, Mapping, Sequence
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

# The callers among these that are valid: keys that are not revoked, people who are signed in.
VALID = """
SELECT id FROM publisher.api_key WHERE id = ANY(%(ids)s::uuid[]) AND revoked_at IS NULL
UNION ALL
SELECT person_id FROM publisher.console_session
WHERE person_id = ANY(%(ids)s::uuid[]) AND expires_at > now()
"""

_KEY = "SELECT id, name, scope, workspace_id, created_at, revoked_at, last_used_at"

# Keys, oldest first.
LIST = f"""
{_KEY} FROM publisher.api_key
WHERE %(workspace_id)s::bigint IS NULL OR workspace_id = %(workspace_id)s
ORDER BY id
"""

# A key by its id.
READ = f"{_KEY} FROM publisher.api_key WHERE id = %(id)s"

# Revoke a key.
REVOKE = """
UPDATE publisher.api_key SET revoked_at = now()
WHERE id = %(id)s AND revoked_at IS NULL
  AND (%(within)s::bigint IS NULL OR workspace_id = %(within)s)
RETURNING name, scope, workspace_id
"""

# Record when keys were used, some seconds ago; each at most once a minute, whichever process was
# the first. Rows that another process updates are skipped: it records the same.
NOTE_USE = """
UPDATE publisher.api_key SET last_used_at = used_at
FROM (
    SELECT key.id AS used_id, now() - interval '1 second' * used.ago AS used_at
    FROM publisher.api_key key
    JOIN unnest(%(ids)s::uuid[], %(ago)s::float8[]) AS used (id, ago) ON used.id = key.id
    WHERE key.last_used_at IS NULL
       OR key.last_used_at <= now() - interval '1 second' * (used.ago + 55)
    FOR NO KEY UPDATE OF key SKIP LOCKED
) noted
WHERE id = used_id
"""

# The role of this session.
ROLE = "SELECT current_user"

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
    """Return the callers among `ids` that are valid: keys, and people who are signed in."""
    return {row[0] for row in tx.execute(VALID, {"ids": to_array(ids)})}


def read_all(tx: Connection, workspace_id: int | None = None) -> list[ApiKey]:
    """Read the keys of a workspace (None: all keys), oldest first."""
    with tx.cursor(row_factory=dict_row) as cursor:
        rows = cursor.execute(LIST, {"workspace_id": workspace_id})
        return [ApiKey.model_validate(row) for row in rows]


def read(tx: Connection, key_id: UUID) -> ApiKey | None:
    """Read a key. None: unknown."""
    with tx.cursor(row_factory=dict_row) as cursor:
        row = cursor.execute(READ, {"id": key_id}).fetchone()
    return ApiKey.model_validate(row) if row else None


def revoke(
    tx: Connection, key_id: UUID, within: int | None = None
) -> tuple[str, str, int | None] | None:
    """Revoke a key of one workspace (None: any); return its name, scope and workspace.

    None: there is none, or it is already revoked.
    """
    row = tx.execute(REVOKE, {"id": key_id, "within": within}).fetchone()
    return (row[0], row[1], row[2]) if row else None


def note_use(tx: Connection, seconds_ago: Mapping[UUID, float]) -> None:
    """Record that keys were used this number of seconds ago, each at most once a minute."""
    tx.execute(NOTE_USE, {"ids": list(seconds_ago), "ago": list(seconds_ago.values())})


def read_role(tx: Connection) -> str:
    """Return the name of the role that this session has."""
    row = tx.execute(ROLE).fetchone()
    return str(row[0]) if row else ""


def has_workspace(tx: Connection, workspace_id: int) -> bool:
    """Whether the workspace exists."""
    row = tx.execute(WORKSPACE, {"id": workspace_id}).fetchone()
    return bool(row and row[0])
