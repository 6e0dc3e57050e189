"""Outlets in SQL: the last relayed position of each, and the lock of its relay."""

from collections.abc import Generator
from contextlib import contextmanager
from typing import Any

from sqlalchemy import Engine

from db.session import Connection, is_driver_broken

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

# A session-level advisory lock: it ends with the session and needs no open transaction.
LOCK = "SELECT pg_try_advisory_lock(hashtext('publisher.outlet'), hashtext(%(name)s))"
UNLOCK = "SELECT pg_advisory_unlock(hashtext('publisher.outlet'), hashtext(%(name)s))"


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
    """Lock an outlet while the block runs. Yields False if another process has locked it."""
    pooled = engine.raw_connection()
    driver: Any = pooled.driver_connection
    try:
        driver.autocommit = True
        is_locked = driver.execute(LOCK, {"name": name}).fetchone()[0]
        try:
            yield is_locked
        finally:
            if is_locked and not is_driver_broken(driver):
                driver.execute(UNLOCK, {"name": name})
    finally:
        if is_driver_broken(driver):
            pooled.invalidate()
        else:
            driver.autocommit = False
        pooled.close()
