"""Connections of a command: opened once the settings are valid, and closed at the end."""

from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from worker.cli.late_imports import late_imports
from worker.local.engines import find_data_dir, find_running
from worker.local.served_url import find_served_url
from worker.runtime.printing import print_note
from worker.runtime.settings import LogFormat, Settings

with late_imports():  # `runtime` imports Celery and Redis: most commands need only the database
    from worker.runtime import database, logs, runtime, startup

if TYPE_CHECKING:
    from sqlalchemy import Engine

    from worker.runtime.runtime import Runtime

S = TypeVar("S", bound=Settings)


def find_settings() -> Settings:
    """Read the settings. With neither URL set, use the engines of a `publish-worker up` here.

    If it uses those, it says so on stderr.
    """
    settings, directory = find_engines(Settings())
    if directory is not None:
        print_note(f"Using the engines of `publish-worker up` in {directory}.")
    return settings


def find_engines(settings: S) -> tuple[S, Path | None]:
    """Return the settings with the three URLs of a `publish-worker up` here, and its folder.

    If one of the URLs is set, or nothing runs: the settings as they are, and None.
    """
    if settings.database_url or settings.redis_url:
        return settings, None
    directory = find_data_dir(settings.data_dir)
    found = find_running(directory)
    if found is None:
        return settings, None
    urls = {"database_url": found.database_url, "redis_url": found.redis_url}
    served = find_served_url(directory)
    if served and "public_base_url" not in settings.model_fields_set:
        urls["public_base_url"] = served
    return settings.model_copy(update=urls), directory


def find_base_url() -> str:
    """Return PUBLIC_BASE_URL or, as for the engines, what a `publish-worker up` here serves."""
    return find_engines(Settings())[0].public_base_url


def find_settings_again(before: Settings) -> Settings:
    """Return the settings, where the engines of `up` may be others now, or `before` without any."""
    given = Settings()
    if given.database_url or given.redis_url:
        return before
    found = find_running(find_data_dir(given.data_dir))
    urls = {"database_url": found.database_url, "redis_url": found.redis_url} if found else {}
    return before.model_copy(update=urls)


@contextmanager
def open_database(*, migrated: bool = True) -> "Generator[Engine]":
    """Open the database alone; `migrated`: refuse one that is not up to date."""
    settings = _begin()
    startup.check_database_url(settings)
    engine = database.open_engine(settings, pool_size=1)
    try:
        if migrated:
            startup.check_database(engine)
        yield engine
    finally:
        engine.dispose()


@contextmanager
def open_runtime(*, redis: bool = False) -> "Generator[Runtime]":
    """Open the database and a way to wake Celery; `redis`: refuse a Redis that does not answer."""
    settings = _begin()
    startup.check_database_url(settings)
    startup.check_redis_url(settings)
    if settings.broker_url:  # before a command is accepted: the wake-up would fail after it
        startup.check_broker_url(settings)
    with runtime.Runtime.open(settings) as opened:
        startup.check_database(opened.engine)
        if redis:
            startup.check_redis(opened.redis)
        yield opened


@contextmanager
def open_unchecked() -> "Generator[Runtime]":
    """Open the database and Redis without asking whether they answer, for `status`."""
    settings = _begin()
    startup.check_settings(settings)
    with runtime.Runtime.open(settings) as opened:
        yield opened


def _begin() -> Settings:
    """Configure the logs, and find the settings."""
    logs.configure(LogFormat.CONSOLE, "WARNING")
    return find_settings()
