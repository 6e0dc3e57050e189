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
"""A transaction that stops while it holds the counter row blocks all others, so it is ended."""
STATEMENT_MS = 60_000
"""No statement of ours takes a minute, unless it waits for a lock."""
CONNECT_SECONDS = 5
UNANSWERED_MS = 10_000


def connect(database_url: str, *, platform_schema: str = "public", pool_size: int = 5) -> Engine:
    """An engine whose connections see the platform's tables without naming their schema.

    `database_url` is libpq's or SQLAlchemy's spelling. No connection is opened yet.
    """
    options = (
        f"-c search_path={platform_schema},public"
        f" -c idle_in_transaction_session_timeout={IDLE_IN_TRANSACTION_MS}"
        f" -c statement_timeout={STATEMENT_MS}"
        " -c random_page_cost=1.1"  # as on any SSD: the claim walks its index, however long it is
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
            "tcp_user_timeout": UNANSWERED_MS,  # a host that is gone says nothing, not even no
        },
    )


@contextmanager
def transaction(engine: Engine) -> Generator[Connection]:
    """One transaction on psycopg's connection: committed at the end, rolled back on any error.

    The statements here are SQL already, and the hot path wants psycopg's pipeline mode, so
    SQLAlchemy lends the pool and stays out of the way.
    """
    pooled = engine.raw_connection()
    try:
        driver: Any = pooled.driver_connection
        yield driver
        driver.commit()
    except BaseException:
        if driver_is_broken(pooled.driver_connection):
            pooled.invalidate()
        else:
            pooled.rollback()
        raise
    finally:
        pooled.close()


@contextmanager
def last_round_trip(tx: Connection) -> Generator[None]:
    """Send the statements inside to the server together with the commit, in pipeline mode.

    So a row that is locked here is held for no network round trip. Raises what the first failing
    statement raised; then nothing was committed.

    COMMIT is sent as a statement: psycopg's own `commit()` inside a pipeline waits for an answer
    while what it asks may still be unsent; with a megabyte in the pipe both sides wait for ever.
    """
    with tx.pipeline():
        yield
        tx.execute("COMMIT")


def wait_briefly(tx: Connection) -> None:
    """Let this transaction wait for no lock longer than a caller would; then LockNotAvailable."""
    tx.execute("SET LOCAL lock_timeout = '2s'")


def driver_is_broken(driver: Any) -> bool:
    """Whether a connection is beyond a rollback."""
    return driver.closed or driver.broken


def array_of(ids: Iterable[int | UUID]) -> str:
    """An array as Postgres spells it: much cheaper than the driver's dump of a list."""
    return "{" + ",".join(map(str, ids)) + "}"
