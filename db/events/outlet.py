"""Outlets: the position up to which each has relayed, and the lock that a relay holds."""

from collections.abc import Generator
from contextlib import contextmanager
from typing import Any

from sqlalchemy import Engine

from db.session import Connection, driver_is_broken

# A new outlet begins with the next event: earlier ones are in the feed.
BEGIN = """
INSERT INTO publisher.outlet (name, position)
SELECT %(name)s, position FROM publisher.event_position
ON CONFLICT (name) DO NOTHING
"""

# How far an outlet has relayed.
POSITION = "SELECT position FROM publisher.outlet WHERE name = %(name)s"

# Move an outlet on, unless another process has moved it meanwhile.
MOVE = """
UPDATE publisher.outlet SET position = %(to)s
WHERE name = %(name)s AND position = %(position)s
"""

# An advisory lock of the session: it ends with its holder, and no transaction is open under it.
LOCK = "SELECT pg_try_advisory_lock(hashtext('publisher.outlet'), hashtext(%(name)s))"
UNLOCK = "SELECT pg_advisory_unlock(hashtext('publisher.outlet'), hashtext(%(name)s))"


def read_position(tx: Connection, name: str) -> int:
    """Return the last position that an outlet has relayed; a new outlet begins now."""
    tx.execute(BEGIN, {"name": name})
    row = tx.execute(POSITION, {"name": name}).fetchone()
    return row[0] if row else 0


def move(tx: Connection, name: str, *, position: int, to: int) -> bool:
    """Move an outlet from `position` to `to`; False if it is no longer at `position`."""
    values = {"name": name, "position": position, "to": to}
    return tx.execute(MOVE, values).rowcount == 1


@contextmanager
def try_lock(engine: Engine, name: str) -> Generator[bool]:
    """Lock an outlet while the block runs; yield False at once if another process has it."""
    pooled = engine.raw_connection()
    driver: Any = pooled.driver_connection
    try:
        driver.autocommit = True
        is_locked = driver.execute(LOCK, {"name": name}).fetchone()[0]
        try:
            yield is_locked
        finally:
            if is_locked and not driver_is_broken(driver):
                driver.execute(UNLOCK, {"name": name})
    finally:
        if driver_is_broken(driver):
            pooled.invalidate()
        else:
            driver.autocommit = False
        pooled.close()
