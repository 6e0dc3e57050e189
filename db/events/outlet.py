"""Outlets: how far each has handed events on, and whose turn it is to do that."""

from collections.abc import Generator
from contextlib import contextmanager
from typing import Any

from sqlalchemy import Engine

from db.session import Connection, driver_is_broken

# A new outlet hands on what comes from now on: whoever wants the past asks the feed for it.
BEGIN = """
INSERT INTO publisher.outlet (name, position)
SELECT %(name)s, position FROM publisher.event_position
ON CONFLICT (name) DO NOTHING
"""

# How far an outlet is.
POSITION = "SELECT position FROM publisher.outlet WHERE name = %(name)s"

# Move an outlet on, unless somebody else has moved it meanwhile.
MOVE = """
UPDATE publisher.outlet SET position = %(to)s
WHERE name = %(name)s AND position = %(position)s
"""

# A lock of the session: it goes when its holder does, and no transaction is open under it.
LOCK = "SELECT pg_try_advisory_lock(hashtext('publisher.outlet'), hashtext(%(name)s))"
UNLOCK = "SELECT pg_advisory_unlock(hashtext('publisher.outlet'), hashtext(%(name)s))"


def position(tx: Connection, name: str) -> int:
    """Tell how far an outlet is; one that was never heard of begins now."""
    tx.execute(BEGIN, {"name": name})
    row = tx.execute(POSITION, {"name": name}).fetchone()
    return row[0] if row else 0


def move(tx: Connection, name: str, *, position: int, to: int) -> bool:
    """Move an outlet on; False if it is no longer where we thought it was."""
    values = {"name": name, "position": position, "to": to}
    return tx.execute(MOVE, values).rowcount == 1


@contextmanager
def turn(engine: Engine, name: str) -> Generator[bool]:
    """Whether it is our turn to hand on for this outlet: nobody else's while the block runs."""
    pooled = engine.raw_connection()
    driver: Any = pooled.driver_connection
    try:
        driver.autocommit = True
        row = driver.execute(LOCK, {"name": name}).fetchone()
        try:
            yield row[0]
        finally:
            if row[0] and not driver_is_broken(driver):
                driver.execute(UNLOCK, {"name": name})
    finally:
        if driver_is_broken(driver):
            pooled.invalidate()
        else:
            driver.autocommit = False
        pooled.close()
