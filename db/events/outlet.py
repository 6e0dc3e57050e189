"""Outlets in SQL: the last relayed position of each, and the lock of its relay."""

from collections.abc import Generator
from contextlib import contextmanager

from psycopg import ClientCursor
from sqlalchemy import Engine

from db.session import Connection, lift_limits, transaction

# Start a new outlet at the next event.
BEGIN = """
INSERT INTO publisher.outlet (name, position)
SELECT %(name)s, position FROM publisher.event_position
ON CONFLICT (name) DO NOTHING
"""

# The last relayed position of an outlet.
POSITION = "SELECT position FROM publisher.outlet WHERE name = %(name)s"

# Advance an outlet, unless another process has advanced it.
MOVE = """
UPDATE publisher.outlet SET position = %(to)s
WHERE name = %(name)s AND position = %(position)s
"""

# Lock an outlet until the end of the transaction, however long it is idle.
LOCK = "SELECT pg_try_advisory_xact_lock(hashtext('publisher.outlet'), hashtext(%(name)s))"


def read_position(tx: Connection, name: str) -> int:
    """Return the last relayed position of an outlet. A new outlet starts at the next event."""
    tx.execute(BEGIN, {"name": name})
    row = tx.execute(POSITION, {"name": name}).fetchone()
    return row[0] if row else 0


def move(tx: Connection, name: str, *, position: int, to: int) -> bool:
    """Advance an outlet from `position` to `to`. False: it is no longer at `position`."""
    values = {"name": name, "position": position, "to": to}
    return tx.execute(MOVE, values).rowcount == 1


@contextmanager
def try_lock(engine: Engine, name: str) -> Generator[bool]:
    """Lock an outlet while the block runs. Yields False if another process has locked it.

    The transaction locks no row and holds no snapshot: it may stay open while the block waits for a
    network. A lock of the session would stay in a connection pooler.
    """
    with transaction(engine) as tx:
        lift_limits(tx)
        # The simple protocol: an extended one's portal would hold a snapshot.
        row = ClientCursor(tx).execute(LOCK, {"name": name}).fetchone()
        yield row == (True,)
