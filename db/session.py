"""Connections: the engine, and a transaction on the driver's own connection."""

from collections.abc import Generator, Iterable
from contextlib import contextmanager
from typing import Any
from uuid import UUID

import psycopg
from psycopg.rows import TupleRow
from sqlalchemy import Engine, create_engine, make_url

Connection = psycopg.Connection[TupleRow]

IDLE_IN_TRANSACTION_MS = 5_000
"""Postgres ends an idle transaction after this time: it may block others with the counter row."""
STATEMENT_MS = 60_000
"""Only a statement that waits for a lock can take this long."""
CONNECT_SECONDS = 5
UNANSWERED_MS = 10_000


def connect(database_url: str, *, platform_schema: str = "public", pool_size: int = 5) -> Engine:
    """Create an engine. Its connections have `platform_schema` in their search path.

    `database_url` is in libpq's or SQLAlchemy's format. No connection is opened yet.
    """
    options = (
        f"-c search_path={platform_schema},public"
        f" -c idle_in_transaction_session_timeout={IDLE_IN_TRANSACTION_MS}"
        f" -c statement_timeout={STATEMENT_MS}"
        " -c random_page_cost=1.1"  # for SSDs: the claim must use its index however large it is
        " -c timezone=UTC"
    )
    return create_engine(
        make_url(database_url).set(drivername="postgresql+psycopg"),
        pool_size=pool_size,
        max_overflow=10,
        pool_timeout=CONNECT_SECONDS,
        pool_pre_ping=True,
        connect_args={
            "options": options,
            "connect_timeout": CONNECT_SECONDS,
            "tcp_user_timeout": UNANSWERED_MS,  # an unreachable host sends no error
        },
    )


@contextmanager
def transaction(engine: Engine) -> Generator[Connection]:
    """Run the block in one transaction: commit at the end, roll back on any error.

    Yields psycopg's connection: the statements are SQL and use psycopg's pipeline mode. SQLAlchemy
    provides only the pool.
    """
    pooled = engine.raw_connection()
    try:
        driver: Any = pooled.driver_connection
        yield driver
        driver.commit()
    except BaseException:
        if is_driver_broken(pooled.driver_connection):
            pooled.invalidate()
        else:
            pooled.rollback()
        raise
    finally:
        pooled.close()


@contextmanager
def last_round_trip(tx: Connection) -> Generator[None]:
    """Send the block's statements together with the commit, in one round trip (pipeline mode).

    A row that the block locks is not held during a network round trip. If a statement fails, its
    error is raised and nothing is committed.

    COMMIT is sent as a statement, because psycopg's `commit()` inside a pipeline waits for the
    answer before the pipeline is flushed: with a megabyte in the pipeline both sides wait forever.
    """
    with tx.pipeline():
        yield
        tx.execute("COMMIT")


def wait_briefly(tx: Connection) -> None:
    """Limit lock waits of this transaction to 2 seconds; after that LockNotAvailable is raised."""
    tx.execute("SET LOCAL lock_timeout = '2s'")


def is_driver_broken(driver: Any) -> bool:
    """Whether a connection can no longer roll back."""
    return driver.closed or driver.broken


def to_array(ids: Iterable[int | UUID]) -> str:
    """Format ids as a Postgres array. Much faster than the driver's adaptation of a list."""
    return "{" + ",".join(map(str, ids)) + "}"
