"""Start-up checks: whether settings are valid, and the database and Redis answer."""

import psycopg
from redis import Redis
from redis.exceptions import RedisError
from sqlalchemy import Engine

from db.errors import DATABASE_ERRORS, DatabaseUnavailable, NotMigrated
from db.revision import is_migrated
from db.session import read_url
from worker.runtime.errors_explained import (
    NOT_MIGRATED,
    RedisUnavailable,
    explain_database_error,
    explain_redis_error,
)
from worker.runtime.settings import OutletName, Settings, SettingsError


def check_settings(settings: Settings) -> None:
    """Raise SettingsError unless the URLs that are needed are set and valid."""
    check_database_url(settings)
    check_redis_url(settings)
    if OutletName.AMQP in settings.outlet_names() and not settings.amqp_url:
        raise SettingsError("OUTLETS names amqp: set AMQP_URL to amqp://user:password@host:5672//.")


def check_database_url(settings: Settings) -> None:
    """Raise SettingsError unless DATABASE_URL is set and valid."""
    url, unknown = settings.database(), ""
    try:
        read_url(url)
        valid = url.startswith(("postgresql://", "postgres://", "postgresql+"))
    except psycopg.ProgrammingError as error:
        valid = False
        if "query parameter" in str(error):  # other texts quote the password
            unknown = f" ({str(error).strip()})"
    if not valid:
        raise SettingsError(
            f"DATABASE_URL is not a valid PostgreSQL URL{unknown}; it looks like "
            "postgresql://user:password@host:5432/database."
        )


def check_redis_url(settings: Settings) -> None:
    """Raise SettingsError unless REDIS_URL is set and valid."""
    try:
        Redis.from_url(settings.redis()).close()  # connects to nothing yet
    except ValueError:
        raise SettingsError(
            "REDIS_URL is not a valid Redis URL; it looks like redis://:password@host:6379/0."
        ) from None


def check_database(engine: Engine) -> None:
    """Raise DatabaseUnavailable or NotMigrated unless the database answers and is up to date."""
    try:
        migrated = is_migrated(engine)
    except DATABASE_ERRORS as error:
        raise DatabaseUnavailable(explain_database_error(error)) from error
    if not migrated:
        raise NotMigrated(NOT_MIGRATED)


def check_redis(redis: Redis) -> None:
    """Raise RedisUnavailable unless Redis answers."""
    try:
        redis.ping()
    except RedisError as error:
        raise RedisUnavailable(explain_redis_error(error)) from error
