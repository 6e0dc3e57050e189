"""Database errors: classified by SQLSTATE."""

import psycopg
from psycopg import errors
from sqlalchemy.exc import OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from publish_worker_client.servers.database_errors import is_away as is_away_in_psycopg
from publish_worker_client.servers.database_errors import is_passing as is_passing_in_psycopg
from publish_worker_client.servers.database_errors import is_useless_session

DATABASE_ERRORS = (psycopg.Error, OperationalError, PoolTimeout)
"""Every error that a statement, or the wait for a pooled connection, can raise."""


class DatabaseUnavailable(Exception):
    """The database cannot be reached, or rejects the connection."""


class NoAnswer(psycopg.OperationalError):
    """The server did not answer in time. What was sent may have been committed."""


class SettingsDropped(psycopg.OperationalError):
    """A connection pooler between us and the server keeps our settings from it."""


class OtherVersion(Exception):
    """The schema is at a revision that this code does not know."""


class NotMigrated(Exception):
    """The tables are missing or have another version. Run `publish-worker migrate`."""


class WrongPlatformSchema(Exception):
    """`PLATFORM_SCHEMA` names a schema without the platform's tables. The text names it."""


def is_away(error: BaseException) -> bool:
    """Whether the database, this connection or a pooled one cannot be had; what is not committed is
    rolled back.
    """
    cause = getattr(error, "orig", None) or error
    if isinstance(cause, psycopg.Error):
        return is_away_in_psycopg(cause)
    return isinstance(error, OperationalError | PoolTimeout)


def is_silent(error: BaseException) -> bool:
    """Whether the wait for the server, or for a pooled connection, took too long.

    Another attempt may wait as long.
    """
    cause = getattr(error, "orig", None) or error
    return isinstance(cause, NoAnswer | errors.ConnectionTimeout | PoolTimeout)


def is_lost_session(error: BaseException) -> bool:
    """Whether another session may succeed at once."""
    return is_useless_session(error) or (is_away(error) and not is_silent(error))


def is_passing(error: BaseException) -> bool:
    """Whether the error is not caused by a row. Time, a migration or a GRANT may resolve it."""
    return is_away(error) or is_passing_in_psycopg(error)
