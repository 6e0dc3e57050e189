"""What a command works with: opened once everything is there, and closed at the end."""

from collections.abc import Generator
from contextlib import contextmanager

import typer
from sqlalchemy import Engine

from db.session import connect
from worker.local.engines import data_dir, running
from worker.runtime.runtime import Runtime
from worker.runtime.settings import Settings
from worker.runtime.startup import (
    check_database,
    check_database_url,
    check_redis,
    check_redis_url,
    check_settings,
)


def find_settings() -> Settings:
    """Read the settings; with neither URL set, take the engines of a `publish-worker up` here.

    If it takes those, it says so on stderr.
    """
    settings = Settings()
    if settings.database_url or settings.redis_url:
        return settings
    directory = data_dir(settings.data_dir)
    found = running(directory)
    if found is None:
        return settings
    typer.echo(f"Using the engines of `publish-worker up` in {directory}.", err=True)
    return settings.model_copy(
        update={"database_url": found.database_url, "redis_url": found.redis_url}
    )


@contextmanager
def database(*, migrated: bool = True) -> Generator[Engine]:
    """Open the database alone; `migrated`: only if it is up to date."""
    settings = find_settings()
    check_database_url(settings)
    engine = connect(settings.database(), platform_schema=settings.platform_schema, pool_size=1)
    try:
        if migrated:
            check_database(engine)
        yield engine
    finally:
        engine.dispose()


@contextmanager
def everything(*, redis: bool = False) -> Generator[Runtime]:
    """Open the database and a way to wake Celery; `redis`: only if Redis answers."""
    settings = find_settings()
    check_database_url(settings)
    check_redis_url(settings)
    with Runtime.open(settings) as runtime:
        check_database(runtime.engine)
        if redis:
            check_redis(runtime.redis)
        yield runtime


@contextmanager
def whatever_answers() -> Generator[Runtime]:
    """Open everything without asking whether it answers: for `status`."""
    settings = find_settings()
    check_settings(settings)
    with Runtime.open(settings) as runtime:
        yield runtime
