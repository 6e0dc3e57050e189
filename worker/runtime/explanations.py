"""What an error of the database means: what is wrong, what to do, and what anyone may see.

Start-up errors and health show the same texts.
"""

from dataclasses import dataclass

import psycopg
from psycopg.errors import (
    DuplicateObject,
    DuplicateTable,
    InsufficientPrivilege,
    InvalidSchemaName,
    LockNotAvailable,
    QueryCanceled,
    ReadOnlySqlTransaction,
    TransactionTimeout,
    UndefinedColumn,
    UndefinedFunction,
    UndefinedTable,
)
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from db.errors import NoAnswer, SettingsDropped

NOT_THERE = (UndefinedTable, UndefinedColumn, InvalidSchemaName, UndefinedFunction)
NOT_MIGRATED = (
    "The database is not migrated. Run `publish-worker migrate` (with --with-platform where the "
    "platform's own tables are to be made too)."
)
NEWER = (
    "The database was migrated for a newer version: it is at {found}, this process needs {needed}. "
    "Start this process again with the newer version of publish-worker."
)
READ_ONLY = "It is a standby, or read-only for now: use the primary, or try again later."
HELD = "Another transaction holds a lock for a long time."
FIND_LOCKS = (
    "Try again. If that does not help, look at the server's load, and for the session that others "
    "wait for: SELECT pid, pg_blocking_pids(pid), state, query FROM pg_stat_activity;"
)
ADD_TO_PLATFORM = (
    "If it is the platform's, add it to its table or view (docs/adopting.md has every column) and "
    "check PLATFORM_SCHEMA; without a platform, `publish-worker migrate --with-platform` makes its "
    "tables. If it is ours, run `publish-worker migrate`."
)
CONNECT_REMEDIES = {
    "password authentication failed": "Correct the user or the password in DATABASE_URL.",
    "no password supplied": "Add the password to DATABASE_URL.",
    "not permitted to log in": "Run ALTER ROLE … LOGIN for the user of DATABASE_URL.",
    "too many connections": "Raise the limit of connections of the role or the database, or start "
    "fewer processes (docs/scaling.md has their numbers).",
    "connection slots are reserved": "Raise max_connections, or start fewer processes "
    "(docs/scaling.md has their numbers).",
    "no pg_hba.conf entry": "Allow this host, user and database in the server's pg_hba.conf.",
    'FATAL:  role "': "Correct the user in DATABASE_URL, or create the role (docs/adopting.md).",
    'FATAL:  database "': "Correct the database in DATABASE_URL, or create it.",
    "failed to resolve host": "Correct the host in DATABASE_URL.",
    "Connection refused": "Start the server, or correct host and port in DATABASE_URL.",
    "invalid response to SSL negotiation": "Another kind of server answers there: correct host and "
    "port in DATABASE_URL.",
    "server does not support SSL": "Set up TLS on the server, or correct sslmode in DATABASE_URL.",
}
"""What to do about a text in the answer to a connection; the first one that is in it."""


@dataclass(frozen=True, kw_only=True)
class Explanation:
    """An error for the person who runs a process, and for callers without a key."""

    detail: str
    """What is wrong: it may have names of hosts, roles and tables."""
    remedy: str
    """What to do."""
    public: str
    """What is wrong, without such names."""

    def __str__(self) -> str:
        return f"{self.detail} {self.remedy}"


def explain_database(error: BaseException) -> Explanation:
    """Explain an error of the database."""
    cause = error.orig if isinstance(error, DBAPIError) and error.orig else error
    answer = str(cause).partition("\n")[0].removeprefix("connection failed: ").rstrip(".")
    match cause:
        case NoAnswer() | PoolTimeout():
            silent = f"The database does not answer: {answer}."
            remedy = "Look at the server's load and locks, and at the network."
            return Explanation(detail=silent, remedy=remedy, public="The database does not answer.")
        case _ if isinstance(cause, NOT_THERE):
            return _explain_absence(answer)
        case LockNotAvailable() | QueryCanceled() | TransactionTimeout():
            is_locked = isinstance(cause, LockNotAvailable)
            delay = HELD if is_locked else "The database takes too long."
            return Explanation(detail=delay, remedy=FIND_LOCKS, public=delay)
        case psycopg.OperationalError() if _is_of_pooler(cause, answer):
            return Explanation(
                detail=f"DATABASE_URL leads through a connection pooler ({answer}).",
                remedy="Set DATABASE_THROUGH_POOLER=true, or connect to the server itself.",
                public="DATABASE_URL leads through a connection pooler.",
            )
        case psycopg.OperationalError() if "session is read-only" in answer:
            remedy = READ_ONLY
        case psycopg.OperationalError() | psycopg.InterfaceError():
            return Explanation(
                detail=f"The database cannot be reached: {answer}.",
                remedy=_find_connect_remedy(answer),
                public="The database cannot be reached.",
            )
        case _:
            remedy = _find_remedy(cause, answer)
    return Explanation(
        detail=f"The database refuses: {answer}.", remedy=remedy, public=_name_publicly(cause)
    )


def _find_connect_remedy(answer: str) -> str:
    found = (remedy for text, remedy in CONNECT_REMEDIES.items() if text in answer)
    return next(found, "Check DATABASE_URL and the server.")


def _name_publicly(cause: BaseException) -> str:
    match cause:
        case InsufficientPrivilege():
            return "The role of DATABASE_URL lacks a right."
        case ReadOnlySqlTransaction() | psycopg.OperationalError():
            return "The database is read-only."
        case _:
            return "The database refuses."


def _explain_absence(answer: str) -> Explanation:
    """Explain that a table, a column or a function is missing: ours has its schema's name."""
    if "publisher" in answer:
        return Explanation(
            detail=f"The database is not migrated: {answer}.",
            remedy="Run `publish-worker migrate`.",
            public="The database is not migrated.",
        )
    public = "The database lacks a table, a column or a function."
    return Explanation(
        detail=f"The database lacks something: {answer}.", remedy=ADD_TO_PLATFORM, public=public
    )


def _find_remedy(cause: BaseException, answer: str) -> str:
    match cause:
        case DuplicateTable() | DuplicateObject():
            return (
                "Nothing was changed: publisher.alembic_version does not record this. Leave out "
                "--with-platform if it is the platform's; restore that table if it was lost; "
                "otherwise use another database."
            )
        case InsufficientPrivilege() if answer.startswith("must be owner"):
            return "Run this as the owner."
        case ReadOnlySqlTransaction():
            return READ_ONLY
        case InsufficientPrivilege():
            return (
                "Connect as a role that has this right (migrations and keys need the owner of our "
                "schema), or grant it to the user of DATABASE_URL."
            )
        case _:
            return "Check DATABASE_URL."


def _is_of_pooler(error: BaseException, answer: str) -> bool:
    return isinstance(error, SettingsDropped) or "unsupported startup parameter" in answer
