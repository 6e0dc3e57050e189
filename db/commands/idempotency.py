"""Idempotency keys in SQL: store the first request with a key, and find it again."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from uuid import UUID

from pydantic_core import to_json

from db.session import Answer, Connection

# Store keys with the digests and the commands of their requests; return those that were not stored
# yet. In order, so that two transactions with the same keys never wait for each other.
REMEMBER = """
INSERT INTO publisher.idempotency_key (scope, key, digest, command_ids)
SELECT scope, key, decode(digest, 'hex'), command_ids
FROM json_to_recordset(%(keys)s::json)
     AS (scope text, key text, digest text, command_ids uuid[])
ORDER BY scope, key
ON CONFLICT (scope, key) DO NOTHING
RETURNING scope, key
"""

# The digests and the commands of keys.
RECALL = """
SELECT scope, key, digest, command_ids
FROM json_to_recordset(%(keys)s::json) AS wanted (scope text, key text)
JOIN publisher.idempotency_key USING (scope, key)
"""

# Delete old idempotency keys, a limited number at a time.
PRUNE = """
DELETE FROM publisher.idempotency_key WHERE (scope, key) IN (
    SELECT scope, key FROM publisher.idempotency_key
    WHERE created_at < now() - %(age)s ORDER BY created_at LIMIT %(limit)s
)
"""


@dataclass(frozen=True, slots=True)
class Key:
    """An idempotency key of a caller."""

    scope: str
    key: str


@dataclass(frozen=True, slots=True, kw_only=True)
class FirstRequest:
    """The first request with a key."""

    digest: bytes
    command_ids: list[UUID]


def remember(tx: Connection, requests: Mapping[Key, FirstRequest]) -> set[Key]:
    """Store keys; return those that another transaction has stored before.

    Waits for a transaction that is storing one of the keys at this moment.
    """
    documents = [
        {
            "scope": key.scope,
            "key": key.key,
            "digest": request.digest.hex(),
            "command_ids": request.command_ids,
        }
        for key, request in requests.items()
    ]
    stored = tx.execute(REMEMBER, {"keys": to_json(documents).decode()})
    return requests.keys() - {Key(scope, key) for scope, key in stored}


def recall(tx: Connection, keys: Iterable[Key]) -> Answer[dict[Key, FirstRequest]]:
    """Return the first requests with these keys. Unknown keys are omitted."""
    cursor = tx.execute(RECALL, {"keys": to_json(list(keys)).decode()})

    def read_answer() -> dict[Key, FirstRequest]:
        return {
            Key(scope, key): FirstRequest(digest=bytes(digest), command_ids=command_ids)
            for scope, key, digest, command_ids in cursor
        }

    return read_answer


def prune(tx: Connection, *, age: timedelta, limit: int) -> int:
    """Delete up to `limit` idempotency keys older than `age`."""
    return tx.execute(PRUNE, {"age": age, "limit": limit}).rowcount
