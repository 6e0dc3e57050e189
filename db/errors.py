"""Which driver errors mean what: told apart by SQLSTATE, turned into ours at the edge."""

import psycopg
from psycopg import errors
from sqlalchemy.exc import OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout

DATABASE_ERRORS = (psycopg.Error, OperationalError, PoolTimeout)
"""Everything that may come out of a statement, or of the wait for a connection."""

_AWAY = ("08", "53", "57P", "25006")
"""How the SQLSTATE begins: connections, resources, shutdowns, a standby not writable yet."""


class DatabaseUnavailable(Exception):
    """The database cannot be reached, or refuses us."""


class OtherVersion(Exception):
    """The schema is at a revision that this code does not know."""


class NotMigrated(Exception):
    """The database has not our tables, or not in this version: run `publish-worker migrate`."""


def is_away(error: BaseException) -> bool:
    """Whether the database, or this connection, is unreachable; uncommitted work is rolled back.

    psycopg's OperationalError is wider than that: a row too large for an index, a deadlock or a
    statement that took too long are the fault of what was asked.
    """
    cause = getattr(error, "orig", None) or error
    if isinstance(cause, psycopg.Error):
        state = cause.sqlstate
        lost = isinstance(cause, psycopg.OperationalError | psycopg.InterfaceError)
        return lost if state is None else state.startswith(_AWAY)
    return isinstance(error, OperationalError | PoolTimeout)


def is_passing(error: BaseException) -> bool:
    """Whether it is not the fault of any row: a migration or a GRANT may help, or just time."""
    unprepared = (
        errors.InsufficientPrivilege,
        errors.InvalidSchemaName,
        errors.UndefinedColumn,
        errors.UndefinedFunction,
        errors.UndefinedTable,
    )
    return is_away(error) or isinstance(error, unprepared)
