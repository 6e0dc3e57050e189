"""Start-up checks: whether settings are valid, and the database and Redis answer."""

from redis import Redis
from redis.exceptions import RedisError
from sqlalchemy import Engine, make_url
from sqlalchemy.exc import ArgumentError

from db.errors import DATABASE_ERRORS, DatabaseUnavailable, NotMigrated
from db.revision import is_migrated
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
    try:
        backend = make_url(settings.database()).get_backend_name()
    except (ArgumentError, ValueError):
        backend = None
    if backend not in ("postgresql", "postgres"):
        raise SettingsError(
            "DATABASE_URL is not a valid PostgreSQL URL; it looks like "
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
