"""Errors in one line for the person who runs a process: what is wrong, and what to do."""

from collections.abc import Generator
from contextlib import contextmanager

import psycopg
from psycopg.errors import (
    DuplicateObject,
    DuplicateTable,
    InsufficientPrivilege,
    InvalidSchemaName,
    LockNotAvailable,
    ReadOnlySqlTransaction,
    UndefinedColumn,
    UndefinedTable,
)
from pydantic import ValidationError
from redis.exceptions import RedisError
from sqlalchemy.exc import DBAPIError, ProgrammingError

from db.database_url import InvalidDatabaseUrl
from db.errors import DatabaseUnavailable, NotMigrated, OtherVersion, SettingsDropped
from worker.runtime.printing import print_note
from worker.runtime.redis_errors import to_text
from worker.runtime.server_urls import InvalidUrl
from worker.runtime.settings import Settings, SettingsError, UpSettings

NOT_THERE = (UndefinedTable, UndefinedColumn, InvalidSchemaName)
NOT_MIGRATED = (
    "The database is not migrated. Run `publish-worker migrate` (with --with-platform where the "
    "platform's own tables are to be made too)."
)


VALID = {
    "LOG_LEVEL": "use DEBUG, INFO, WARNING or ERROR",
    "LOG_FORMAT": "use console or json",
    "OUTLETS": "use stream, or stream,amqp",
    "PLATFORM_SCHEMA": "use the name of a schema, in lower case",
    "CORS_ORIGINS": "use origins without a path, such as https://app.example.com, separated by "
    "commas without spaces, or *",
}
"""What a setting may be, where Pydantic's own text would be a regular expression or a list."""


READ_ONLY = "It is a standby, or read-only for now: use the primary, or try again later."


class ExplainedError(Exception):
    """An error whose text says what is wrong and what to do; it may have several lines."""


class RedisUnavailable(Exception):
    """Redis cannot be reached, or refuses us."""


def explain(error: BaseException) -> str | None:
    """Return what is wrong and what to do; None if the error is a bug of ours."""
    match error:
        case ExplainedError():
            return str(error)
        case ValidationError() if error.title in (Settings.__name__, UpSettings.__name__):
            text = "; ".join(
                _explain_setting(".".join(map(str, each["loc"])).upper(), each["msg"])
                for each in error.errors(include_url=False, include_input=False)
            )
        case InvalidUrl() | InvalidDatabaseUrl():
            text = f"A URL in the settings is not valid: {error}."
        case (
            SettingsError()
            | DatabaseUnavailable()
            | NotMigrated()
            | OtherVersion()
            | RedisUnavailable()
        ):
            text = str(error)
        case DBAPIError() | psycopg.Error():
            text = explain_database_error(error)
        case RedisError():
            text = explain_redis_error(error)
        case _:
            return None
    return _join_lines(text)


@contextmanager
def one_clear_line() -> Generator[None]:
    """End the process with exit code 1 and one line on stderr if the error can be explained."""
    try:
        yield
    except Exception as error:
        explained = explain(error)
        if explained is None:
            raise
        complain(explained)
        raise SystemExit(1) from None


@contextmanager
def explain_missing_tables() -> Generator[None]:
    """For `migrate` itself, which cannot be advised to migrate."""
    try:
        yield
    except (ProgrammingError, *NOT_THERE) as error:
        cause = error.orig if isinstance(error, ProgrammingError) else error
        if not isinstance(cause, NOT_THERE):
            raise
        raise ExplainedError(
            f"The database is not as the migrations left it: {cause.diag.message_primary}. Restore "
            "that, or name its schema in PLATFORM_SCHEMA. Only the first --with-platform creates "
            "the platform's tables."
        ) from error


def complain(text: str) -> None:
    """Print an error on stderr; it may have several lines."""
    for line in f"publish-worker: {text}".split("\n"):
        print_note(line)


def explain_database_error(error: Exception) -> str:
    """Return what the database answered, and what to do."""
    cause = error.orig if isinstance(error, DBAPIError) else error
    answer = str(cause).partition("\n")[0].removeprefix("connection failed: ").rstrip(".")
    match cause:
        case _ if isinstance(cause, NOT_THERE):
            return f"{NOT_MIGRATED} ({answer})"
        case LockNotAvailable():
            return "Another transaction holds the command for a long time. Try again."
        case psycopg.OperationalError() if _is_of_pooler(cause, answer):
            return (
                f"DATABASE_URL leads through a connection pooler ({answer}). Set "
                "DATABASE_THROUGH_POOLER=true, or connect to the server itself."
            )
        case psycopg.OperationalError() if "session is read-only" in answer:
            advice = READ_ONLY
        case psycopg.OperationalError() | psycopg.InterfaceError():
            return f"The database cannot be reached: {answer}. Check DATABASE_URL and the server."
        case DuplicateTable() | DuplicateObject():
            advice = (
                "Nothing was changed: publisher.alembic_version does not record this. Leave out "
                "--with-platform if it is the platform's; restore that table if it was lost; "
                "otherwise use another database."
            )
        case InsufficientPrivilege() if answer.startswith("must be owner"):
            advice = "Run this as the owner."
        case ReadOnlySqlTransaction():
            advice = READ_ONLY
        case InsufficientPrivilege():
            advice = (
                "Connect as a role that has this right (migrations and keys need the owner of our "
                "schema), or grant it to the user of DATABASE_URL."
            )
        case _:
            advice = "Check DATABASE_URL."
    return f"The database refuses: {answer}. {advice}"


def _explain_setting(name: str, message: str) -> str:
    return f"{name} is not valid: {VALID.get(name) or message.removeprefix('Value error, ')}"


def _is_of_pooler(error: BaseException, answer: str) -> bool:
    return isinstance(error, SettingsDropped) or "unsupported startup parameter" in answer


def explain_redis_error(error: RedisError) -> str:
    """Return what Redis answered, and what to do."""
    answer = to_text(error).rstrip(".")
    return f"Redis cannot be used: {answer}. Check REDIS_URL and the server."


def _join_lines(text: str) -> str:
    return " ".join(text.split())
