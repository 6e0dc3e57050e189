"""Errors of PostgreSQL: classified by SQLSTATE."""

import psycopg
from psycopg import errors

_READ_ONLY = "25006"
_AWAY = ("08", "53", "57P", "25P03", "25P04", _READ_ONLY)
"""SQLSTATE prefixes: connection, resources, shutdown, a session that the server has ended because
it was idle or its transaction took too long, read-only (a standby or a failover)."""
_MIXED_UP = ("26000", "42P05")
"""A prepared statement is missing, or exists already: a connection pooler mixes up sessions."""


LONGEST_TEXT = 2000
"""Characters of a description."""


def describe_error(error: BaseException) -> str:
    """Name an error, and say what it says, for people who may not see rows: in events and answers.

    The rest of a database's answer (DETAIL with "Failing row contains …", CONTEXT, the statement)
    belongs only in the log.
    """
    cause = getattr(error, "orig", None) or error
    primary = cause.diag.message_primary if isinstance(cause, psycopg.Error) else None
    text = f"{type(cause).__name__}: {(primary or str(cause)).partition(chr(10))[0]}"
    return text[:LONGEST_TEXT].replace("\x00", "")


def is_away(error: BaseException) -> bool:
    """Whether the database, or this connection, is unreachable; uncommitted work is rolled back.

    psycopg's OperationalError is wider: it also covers a row too large for an index, a deadlock and
    a statement timeout, which the statement causes. Its InternalError without a SQLSTATE is an
    answer that does not belong to the statement, as a pooler gives that has lost its server.
    """
    if not isinstance(error, psycopg.Error):
        return False
    if error.sqlstate is not None:
        return error.sqlstate.startswith(_AWAY)
    lost = psycopg.OperationalError | psycopg.InterfaceError | psycopg.InternalError
    return isinstance(error, lost)


def is_useless_session(error: BaseException) -> bool:
    """Whether sessions that were opened before this error are alive but useless.

    They are read-only, as of a failover, or have prepared a statement whose result has another type
    since a migration of the platform.
    """
    state = error.sqlstate if isinstance(error, psycopg.Error) else None
    return state in (_READ_ONLY, *_MIXED_UP) or _is_plan_outdated(error)


def is_passing(error: BaseException) -> bool:
    """Whether the error is not caused by a row. Time, a migration or a GRANT may resolve it."""
    passing = (
        errors.DeadlockDetected,
        errors.LockNotAvailable,
        errors.SerializationFailure,
        errors.InsufficientPrivilege,
        errors.InvalidSchemaName,
        errors.UndefinedColumn,
        errors.UndefinedFunction,
        errors.UndefinedTable,
    )
    return is_away(error) or is_useless_session(error) or isinstance(error, passing)


def _is_plan_outdated(error: BaseException) -> bool:
    return isinstance(error, errors.FeatureNotSupported) and "cached plan" in str(error)
