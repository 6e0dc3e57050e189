"""People of the identity provider in SQL, and their sign-ins under way."""

from datetime import timedelta

from uuid_utils.compat import uuid7

from db.session import Connection
from schemas.values.caller import KnownPerson

# Store a person, or what the provider calls a known one by now. The provider and its own id of the
# person decide who it is: names and addresses change, and are given to others.
NOTE = """
INSERT INTO publisher.person (id, issuer, subject, name)
VALUES (%(id)s, %(issuer)s, %(subject)s, %(name)s)
ON CONFLICT (issuer, subject) DO UPDATE SET name = excluded.name, signed_in_at = now()
RETURNING id, name
"""

# Begin a sign-in: only the browser with the cookie can complete it.
BEGIN = """
INSERT INTO publisher.sign_in_attempt (digest, after, expires_at)
VALUES (%(digest)s, %(after)s, now() + %(age)s)
"""

# Use up a sign-in. Of two transactions, the second one finds none.
REDEEM = """
WITH attempt AS (
    DELETE FROM publisher.sign_in_attempt WHERE digest = %(digest)s RETURNING after, expires_at
)
SELECT after FROM attempt WHERE expires_at > now()
"""


def note(tx: Connection, *, issuer: str, subject: str, name: str) -> KnownPerson:
    """Store a person who is signing in; return it, with the id that it has for good."""
    values: dict[str, object] = {"id": uuid7(), "issuer": issuer, "subject": subject, "name": name}
    row = tx.execute(NOTE, values).fetchone()
    assert row is not None  # noqa: S101 - an upsert of one row returns it
    return KnownPerson(id=row[0], name=row[1])


def begin_attempt(tx: Connection, digest: bytes, *, after: str, age: timedelta) -> None:
    """Store that a sign-in has begun."""
    tx.execute(BEGIN, {"digest": digest, "after": after, "age": age})


def redeem_attempt(tx: Connection, digest: bytes) -> str | None:
    """Use up a sign-in; return the page that was asked for. None: unknown, used or expired."""
    row = tx.execute(REDEEM, {"digest": digest}).fetchone()
    return row[0] if row else None
