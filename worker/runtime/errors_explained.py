"""Errors in one line for the person who runs a process: what is wrong, and what to do."""

import sys
from collections.abc import Generator
from contextlib import contextmanager

import psycopg
from pydantic import ValidationError
from sqlalchemy.exc import DBAPIError, ProgrammingError

from db.database_url import InvalidDatabaseUrl
from db.errors import DatabaseUnavailable, NotMigrated, OtherVersion, WrongPlatformSchema
from publish_worker_client.servers.server_urls import InvalidUrl
from worker.runtime.explained_error import ExplainedError
from worker.runtime.explanations import NOT_THERE, explain_database
from worker.runtime.printing import complain
from worker.runtime.settings import Settings, SettingsError, UpSettings

VALID = {
    "LOG_LEVEL": "use DEBUG, INFO, WARNING or ERROR",
    "OIDC_SCOPES": "use scopes separated by single spaces, openid first",
    "LOG_FORMAT": "use console or json",
    "METRICS_LISTEN": "use host:port, such as 0.0.0.0:9464 or [::]:9464, with a port up to 65535",
    "OUTLETS": "use stream, or stream,amqp",
    "PLATFORM_SCHEMA": "use the name of a schema, in lower case",
    "CORS_ORIGINS": "use origins without a path, such as https://app.example.com, separated by "
    "commas without spaces, or *",
}
"""What a setting may be, where Pydantic's own text would be a regular expression or a list."""


class RedisUnavailable(Exception):
    """Redis cannot be reached, or refuses us."""


def explain(error: BaseException) -> str | None:
    """Return what is wrong and what to do; None if the error is a bug of ours."""
    match error:
        case ExplainedError():
            return str(error)
        case ValidationError() if error.title in (Settings.__name__, UpSettings.__name__):
            text = "; ".join(explain_settings(error))
        case InvalidUrl() | InvalidDatabaseUrl():
            text = f"A URL in the settings is not valid: {error}."
        case (
            SettingsError()
            | DatabaseUnavailable()
            | NotMigrated()
            | OtherVersion()
            | WrongPlatformSchema()
            | RedisUnavailable()
        ):
            text = str(error)
        case DBAPIError() | psycopg.Error():
            text = explain_database_error(error)
        case _:
            text = _explain_redis(error)
            if text is None:
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


def explain_database_error(error: Exception) -> str:
    """Return what the database answered, and what to do."""
    return str(explain_database(error))


def explain_settings(error: ValidationError) -> list[str]:
    """Return what is wrong with each setting that is not valid."""
    return [
        _explain_setting(".".join(map(str, each["loc"])).upper(), each["msg"])
        for each in error.errors(include_url=False, include_input=False)
    ]


def _explain_setting(name: str, message: str) -> str:
    return f"{name} is not valid: {VALID.get(name) or message.removeprefix('Value error, ')}"


def _explain_redis(error: BaseException) -> str | None:
    """Explain an error of Redis; a process that has not imported its client has none."""
    if "redis" not in sys.modules:
        return None
    from redis.exceptions import RedisError  # noqa: PLC0415

    from worker.runtime.redis_explanations import explain_redis  # noqa: PLC0415

    return str(explain_redis(error)) if isinstance(error, RedisError) else None


def _join_lines(text: str) -> str:
    return " ".join(text.split())
