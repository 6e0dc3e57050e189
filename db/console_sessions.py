"""Console sessions and sign-in codes in SQL. Tokens are looked up by their SHA-256."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from psycopg.rows import class_row

from db.session import Connection

_SIGN_IN = "k.revoked_at IS NULL AND k.scope <> 'events'"

_NEW = """
INSERT INTO publisher.console_session (digest, id, key_id, expires_at, user_agent)
SELECT %(digest)s, %(id)s, k.id, now() + %(age)s, %(user_agent)s"""
_STORED = "RETURNING id, key_id, expires_at"

# Begin a session for a valid key of another scope than `events`.
INSERT = f"""{_NEW}
FROM publisher.api_key k WHERE k.digest = %(key_digest)s AND {_SIGN_IN}
{_STORED}
"""

# Use up a code, and begin a session of its key. Of two transactions, the second one finds no code.
REDEEM = f"""
WITH code AS (
    DELETE FROM publisher.sign_in_code WHERE digest = %(code_digest)s RETURNING key_id, expires_at
)
{_NEW}
FROM code JOIN publisher.api_key k ON k.id = code.key_id
WHERE code.expires_at > now() AND {_SIGN_IN}
{_STORED}
"""

# Store a code for a valid key of another scope than `events`.
INSERT_CODE = f"""
INSERT INTO publisher.sign_in_code (digest, key_id, expires_at)
SELECT %(digest)s, k.id, now() + %(age)s FROM publisher.api_key k
WHERE k.digest = %(key_digest)s AND {_SIGN_IN}
"""

# Begin a session of a person, whom the identity provider has just named.
INSERT_PERSONS = """
INSERT INTO publisher.console_session
    (digest, id, person_id, groups, expires_at, user_agent, provider_session)
VALUES (%(digest)s, %(id)s, %(person_id)s, %(groups)s, now() + %(age)s, %(user_agent)s,
        %(provider_session)s)
RETURNING id, key_id, expires_at
"""

_OWNER = """s.id, s.key_id, k.scope, k.workspace_id, s.person_id, p.issuer, s.groups,
           coalesce(k.name, p.name) AS name, s.created_at, s.expires_at"""

# The session with this digest, if it has not expired, was used recently, and its key, if it has
# one, is valid. Its use is noted once a minute.
FIND = f"""
WITH session AS (
    SELECT {_OWNER}, s.digest, s.last_seen_at
    FROM publisher.console_session s
    LEFT JOIN publisher.api_key k ON k.id = s.key_id
    LEFT JOIN publisher.person p ON p.id = s.person_id
    WHERE s.digest = %(digest)s AND s.expires_at > now()
      AND s.last_seen_at > now() - %(idle)s AND (s.key_id IS NULL OR {_SIGN_IN})
), seen AS (
    UPDATE publisher.console_session s SET last_seen_at = now() FROM session
    WHERE s.digest = session.digest AND session.last_seen_at < now() - interval '1 minute'
)
SELECT id, key_id, scope, workspace_id, person_id, issuer, groups, name, created_at, expires_at
FROM session
"""

# The sessions among these that have not ended. Their keys are not looked at.
OPEN = """
SELECT digest FROM publisher.console_session
WHERE digest = ANY(%(digests)s::bytea[]) AND expires_at > now()
  AND last_seen_at > now() - %(idle)s
"""

_OWNERS = """LEFT JOIN publisher.api_key k ON k.id = s.key_id
LEFT JOIN publisher.person p ON p.id = s.person_id"""

# End a session.
DELETE = f"""
WITH ended AS (DELETE FROM publisher.console_session WHERE digest = %(digest)s RETURNING *)
SELECT {_OWNER} FROM ended s {_OWNERS}
"""

# End the session with this id, or all sessions of the person or the API key with it.
DELETE_BY_ID = f"""
WITH ended AS (
    DELETE FROM publisher.console_session
    WHERE %(id)s IN (id, person_id, key_id) RETURNING *
)
SELECT {_OWNER} FROM ended s {_OWNERS} ORDER BY s.id
"""

# End what has ended at the identity provider: one of its sessions, or all of a person.
DELETE_AT_PROVIDER = f"""
WITH ended AS (
    DELETE FROM publisher.console_session s USING publisher.person p
    WHERE p.id = s.person_id AND p.issuer = %(issuer)s
      AND (p.subject = %(subject)s OR %(subject)s::text IS NULL)
      AND (s.provider_session = %(provider_session)s OR %(provider_session)s::text IS NULL)
    RETURNING s.*
)
SELECT {_OWNER} FROM ended s {_OWNERS} ORDER BY s.id
"""

# The sessions that have not ended, the last used first.
READ_ALL = f"""
SELECT s.id, s.key_id, s.person_id, coalesce(k.name, p.name) AS name, s.created_at,
       s.last_seen_at, s.expires_at, s.user_agent
FROM publisher.console_session s {_OWNERS}
WHERE s.expires_at > now() AND s.last_seen_at > now() - %(idle)s
  AND (s.key_id IS NULL OR {_SIGN_IN})
ORDER BY s.last_seen_at DESC, s.id
LIMIT %(limit)s
"""

# Delete sessions, codes and attempts to sign in that are not valid any more.
PRUNE = """
WITH codes AS (DELETE FROM publisher.sign_in_code WHERE expires_at <= now() RETURNING digest),
attempts AS (DELETE FROM publisher.sign_in_attempt WHERE expires_at <= now() RETURNING digest),
sessions AS (
    DELETE FROM publisher.console_session
    WHERE expires_at <= now() OR last_seen_at <= now() - %(idle)s RETURNING digest
)
SELECT (SELECT count(*) FROM codes) + (SELECT count(*) FROM attempts)
     + (SELECT count(*) FROM sessions)
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredSession:
    """A session, with its key as it is now, or its person as of the last sign-in."""

    id: UUID
    key_id: UUID | None
    scope: str | None
    """Of the key, as `workspace_id`. None: a person, whose groups decide."""
    workspace_id: int | None
    person_id: UUID | None
    issuer: str | None
    groups: list[str] | None
    name: str
    created_at: datetime
    expires_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenSession:
    """A session that has not ended, for people who run the console."""

    id: UUID
    key_id: UUID | None
    person_id: UUID | None
    name: str
    created_at: datetime
    last_seen_at: datetime
    """Accurate to a minute."""
    expires_at: datetime
    user_agent: str | None


def insert(tx: Connection, **values: Any) -> Sequence[Any] | None:
    """Begin a session; return id, key and end. None: the key is not valid here.

    `values`: digest, id, age, user_agent, and key_digest.
    """
    return tx.execute(INSERT, values).fetchone()


def insert_persons(tx: Connection, **values: Any) -> datetime:
    """Begin a session of a person; return its end.

    `values`: digest, id, age, user_agent, person_id, groups, and provider_session.
    """
    row = tx.execute(INSERT_PERSONS, values).fetchone()
    assert row is not None  # noqa: S101 - an INSERT of one row returns it
    return row[2]


def redeem(tx: Connection, **values: Any) -> Sequence[Any] | None:
    """Like `insert`, with `code_digest`: the code is used up, valid or not."""
    return tx.execute(REDEEM, values).fetchone()


def insert_code(tx: Connection, *, digest: bytes, key_digest: bytes, age: timedelta) -> bool:
    """Store a code. False: the key is not valid here."""
    values = {"digest": digest, "key_digest": key_digest, "age": age}
    return tx.execute(INSERT_CODE, values).rowcount == 1


def find(tx: Connection, digest: bytes, *, idle: timedelta) -> StoredSession | None:
    """Find a valid session, which was used within `idle`."""
    with tx.cursor(row_factory=class_row(StoredSession)) as cursor:
        return cursor.execute(FIND, {"digest": digest, "idle": idle}).fetchone()


def read_open(tx: Connection, digests: Iterable[bytes], *, idle: timedelta) -> set[bytes]:
    """Return which of these sessions have not ended."""
    cursor = tx.cursor(binary=True)
    return {row[0] for row in cursor.execute(OPEN, {"digests": list(digests), "idle": idle})}


def delete(tx: Connection, digest: bytes) -> StoredSession | None:
    """End a session, and return it. None: there is none."""
    with tx.cursor(row_factory=class_row(StoredSession)) as cursor:
        return cursor.execute(DELETE, {"digest": digest}).fetchone()


def delete_by_id(tx: Connection, found_id: UUID) -> list[StoredSession]:
    """End the session with this id, or those of the person or the key; return them."""
    with tx.cursor(row_factory=class_row(StoredSession)) as cursor:
        return cursor.execute(DELETE_BY_ID, {"id": found_id}).fetchall()


def delete_at_provider(tx: Connection, **values: str | None) -> list[StoredSession]:
    """End sessions of people; return them.

    `values`: issuer, subject (None: any) and provider_session (None: all).
    """
    with tx.cursor(row_factory=class_row(StoredSession)) as cursor:
        return cursor.execute(DELETE_AT_PROVIDER, values).fetchall()


def read_all(tx: Connection, *, idle: timedelta, limit: int) -> list[OpenSession]:
    """Return the sessions that have not ended, the last used first."""
    with tx.cursor(row_factory=class_row(OpenSession)) as cursor:
        return cursor.execute(READ_ALL, {"idle": idle, "limit": limit}).fetchall()


def prune(tx: Connection, *, idle: timedelta) -> int:
    """Delete what has expired."""
    row = tx.execute(PRUNE, {"idle": idle}).fetchone()
    return row[0] if row else 0
