"""Database errors: classified by SQLSTATE."""

import psycopg
from psycopg import errors
from sqlalchemy.exc import OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout

DATABASE_ERRORS = (psycopg.Error, OperationalError, PoolTimeout)
"""Every error that a statement, or the wait for a pooled connection, can raise."""

_AWAY = ("08", "53", "57P", "25006")
"""SQLSTATE prefixes: connection, resources, shutdown, read-only (a standby or a failover)."""


class DatabaseUnavailable(Exception):
    """The database cannot be reached, or rejects the connection."""


class OtherVersion(Exception):
    """The schema is at a revision that this code does not know."""


class NotMigrated(Exception):
    """The tables are missing or have another version. Run `publish-worker migrate`."""


def is_away(error: BaseException) -> bool:
    """Whether the database, or this connection, is unreachable; uncommitted work is rolled back.

    psycopg's OperationalError is wider: it also covers a row too large for an index, a deadlock and
    a statement timeout, which the statement causes.
    """
    cause = getattr(error, "orig", None) or error
    if isinstance(cause, psycopg.Error):
        state = cause.sqlstate
        lost = isinstance(cause, psycopg.OperationalError | psycopg.InterfaceError)
        return lost if state is None else state.startswith(_AWAY)
    return isinstance(error, OperationalError | PoolTimeout)


def is_passing(error: BaseException) -> bool:
    """Whether the error is not caused by a row. Time, a migration or a GRANT may resolve it."""
    unprepared = (
        errors.InsufficientPrivilege,
        errors.InvalidSchemaName,
        errors.UndefinedColumn,
        errors.UndefinedFunction,
        errors.UndefinedTable,
    )
    return is_away(error) or isinstance(error, unprepared)
