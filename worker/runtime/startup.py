"""Before a process starts: is everything there? If not, one clear line that says what to do."""

import sys
from collections.abc import Generator
from contextlib import contextmanager

import psycopg
from psycopg.errors import (
    InsufficientPrivilege,
    InvalidSchemaName,
    LockNotAvailable,
    UndefinedColumn,
    UndefinedTable,
)
from pydantic import ValidationError
from redis import Redis
from redis.exceptions import RedisError
from sqlalchemy import Engine, make_url
from sqlalchemy.exc import ArgumentError, DBAPIError

from db.errors import DatabaseUnavailable, NotMigrated
from db.migrate import is_migrated
from worker.local.engines import EngineError
from worker.runtime.settings import OutletName, Settings, SettingsError

NOT_MIGRATED = (
    "The database is not migrated: run `publish-worker migrate` (with --with-platform where the "
    "platform's own tables are to be made too)."
)


class RedisUnavailable(Exception):
    """Redis cannot be reached, or refuses us."""


def check_settings(settings: Settings) -> None:
    """Raise SettingsError unless the URLs that are needed are there and can be understood."""
    check_database_url(settings)
    check_redis_url(settings)
    if OutletName.AMQP in settings.outlet_names() and not settings.amqp_url:
        raise SettingsError("OUTLETS names amqp: set AMQP_URL to amqp://user:password@host:5672//.")


def check_database_url(settings: Settings) -> None:
    """Raise SettingsError unless DATABASE_URL is there and can be understood."""
    try:
        backend = make_url(settings.database()).get_backend_name()
    except (ArgumentError, ValueError):
        backend = None
    if backend not in ("postgresql", "postgres"):
        raise SettingsError(
            "DATABASE_URL is no PostgreSQL URL; it looks like "
            "postgresql://user:password@host:5432/database."
        )


def check_redis_url(settings: Settings) -> None:
    """Raise SettingsError unless REDIS_URL is there and can be understood."""
    try:
        Redis.from_url(settings.redis()).close()  # connects to nothing yet
    except ValueError:
        raise SettingsError(
            "REDIS_URL is no Redis URL; it looks like redis://:password@host:6379/0."
        ) from None


def check_database(engine: Engine) -> None:
    """Raise DatabaseUnavailable or NotMigrated unless the database is there and up to date."""
    try:
        migrated = is_migrated(engine)
    except DBAPIError as error:
        raise DatabaseUnavailable(_database_says(error)) from error
    if not migrated:
        raise NotMigrated(NOT_MIGRATED)


def check_redis(redis: Redis) -> None:
    """Raise RedisUnavailable unless Redis answers."""
    try:
        redis.ping()
    except RedisError as error:
        raise RedisUnavailable(_redis_says(error)) from error


def explain(error: BaseException) -> str | None:
    """What was wrong and what to do, on one line; None if this is nobody's fault but ours."""
    match error:
        case ValidationError() if error.title == Settings.__name__:
            text = "; ".join(
                f"{'.'.join(map(str, each['loc'])).upper()} makes no sense: {each['msg']}"
                for each in error.errors(include_url=False, include_input=False)
            )
        case SettingsError() | DatabaseUnavailable() | NotMigrated() | RedisUnavailable():
            text = str(error)
        case EngineError():
            return str(error)  # with the last lines of the engine's log
        case DBAPIError() | psycopg.Error():
            text = _database_says(error)
        case RedisError():
            text = _redis_says(error)
        case _:
            return None
    return _one_line(text)


@contextmanager
def one_clear_line() -> Generator[None]:
    """End the process with exit code 1 and one line on stderr, where that says it all."""
    try:
        yield
    except Exception as error:
        explained = explain(error)
        if explained is None:
            raise
        complain(explained)
        raise SystemExit(1) from None


def complain(text: str) -> None:
    """Say on stderr what is wrong."""
    print(f"publish-worker: {text}", file=sys.stderr, flush=True)


def _database_says(error: DBAPIError | psycopg.Error) -> str:
    cause = error.orig if isinstance(error, DBAPIError) else error
    said = str(cause).partition("\n")[0].removeprefix("connection failed: ").rstrip(".")
    match cause:
        case UndefinedTable() | UndefinedColumn() | InvalidSchemaName():
            return f"{NOT_MIGRATED} ({said})"
        case InsufficientPrivilege():
            return f"The database refuses: {said}. GRANT that to the user of DATABASE_URL."
        case LockNotAvailable():
            return "Somebody else holds the command in a transaction that takes long; try again."
        case psycopg.OperationalError() | psycopg.InterfaceError():
            return f"The database cannot be reached: {said}. Is PostgreSQL up, DATABASE_URL right?"
        case _:
            return f"The database refuses: {said}. Is DATABASE_URL right?"


def _redis_says(error: RedisError) -> str:
    said = _one_line(str(error)).rstrip(".")
    return f"Redis cannot be used: {said}. Is Redis up, REDIS_URL right?"


def _one_line(text: str) -> str:
    return " ".join(text.split())
