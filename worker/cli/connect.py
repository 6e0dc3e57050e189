"""What a command works with: opened when all is there, else told in one line; closed at the end."""

from collections.abc import Generator
from contextlib import contextmanager

from sqlalchemy import Engine

from db.session import connect
from worker.app import Process, closing, process
from worker.runtime.settings import resolve
from worker.runtime.startup import check_database, check_database_url, check_redis, check_redis_url


@contextmanager
def database(*, migrated: bool = True) -> Generator[Engine]:
    """The database alone; `migrated`: only if it is up to date."""
    settings = resolve()
    check_database_url(settings)
    engine = connect(settings.database(), platform_schema=settings.platform_schema, pool_size=1)
    try:
        if migrated:
            check_database(engine)
        yield engine
    finally:
        engine.dispose()


@contextmanager
def everything(*, redis: bool = False) -> Generator[Process]:
    """The database and a way to wake Celery; `redis`: only if Redis answers."""
    settings = resolve()
    check_database_url(settings)
    check_redis_url(settings)
    try:
        with closing(process()) as opened:
            check_database(opened.engine)
            if redis:
                check_redis(opened.redis)
            yield opened
    finally:
        process.cache_clear()
