"""Which driver errors mean what: turned into ours at the edge, told apart by type."""

import psycopg
from psycopg import errors
from sqlalchemy.exc import OperationalError

UNREACHABLE = (psycopg.OperationalError, psycopg.InterfaceError, OperationalError)
"""The database is away, or this connection is: what was not committed did not happen."""

PASSING = (
    *UNREACHABLE,
    errors.InsufficientPrivilege,
    errors.InvalidSchemaName,
    errors.UndefinedColumn,
    errors.UndefinedFunction,
    errors.UndefinedTable,
)
"""Not the fault of any row: trying again later, or after a migration or a GRANT, may help."""


class DatabaseUnavailable(Exception):
    """The database cannot be reached, or refuses us."""


class NotMigrated(Exception):
    """The database has not our tables, or not in this version: run `publish-worker migrate`."""
