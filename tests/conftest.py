"""Real engines, started once; a database of its own for each test, cloned from a migrated one."""

import os
import shutil
import tempfile
from collections.abc import Callable, Generator
from pathlib import Path

import psycopg
import pytest
import structlog
from psycopg import sql
from redis import Redis
from sqlalchemy import Engine

from db.migrate import migrate
from db.session import connect
from tests.support.api import Api, serving
from tests.support.pipeline import Desk
from tests.support.platform import set_up
from tests.support.processes import Celeries, broker_only, celeries
from worker.local.engines import Engines, engines

CLONE = "CREATE DATABASE {} TEMPLATE {} STRATEGY FILE_COPY"


@pytest.fixture(autouse=True, scope="session")
def logs_to_pytest() -> None:
    """Hand log lines to the standard library, where pytest collects them."""
    structlog.configure(
        processors=[
            structlog.stdlib.add_log_level,
            structlog.stdlib.render_to_log_kwargs,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
    )


@pytest.fixture(scope="session")
def running() -> Generator[Engines]:
    """PostgreSQL and Valkey, as real as in production, without the waiting for disks."""
    home = Path(tempfile.mkdtemp(prefix="pw-test-", dir="/var/tmp"))
    home.chmod(0o755)
    try:
        with engines(home, durable=False) as started:
            yield started
    finally:
        shutil.rmtree(home, ignore_errors=True)


@pytest.fixture(scope="session")
def template(running: Engines) -> str:
    """The name of a database with every table and no row, to be cloned."""
    engine = connect(running.database_url)
    migrate(engine, with_platform=True)
    engine.dispose()
    return "publish_worker"


@pytest.fixture
def database_url(running: Engines, template: str) -> Generator[str]:
    """A fresh database."""
    name = f"test_{os.urandom(6).hex()}"
    postgres = libpq(running.database_url, "postgres")
    with psycopg.connect(postgres, autocommit=True) as admin:
        admin.execute(sql.SQL(CLONE).format(sql.Identifier(name), sql.Identifier(template)))
    yield named(running.database_url, name)
    with psycopg.connect(postgres, autocommit=True) as admin:
        admin.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))


@pytest.fixture
def engine(database_url: str) -> Generator[Engine]:
    """An engine on a fresh database."""
    made = connect(database_url)
    yield made
    made.dispose()


@pytest.fixture
def redis_url(running: Engines) -> str:
    """An empty Valkey."""
    with Redis.from_url(running.redis_url) as client:
        client.flushall()
    return running.redis_url


@pytest.fixture
def redis(redis_url: str) -> Generator[Redis]:
    """A client of an empty Valkey."""
    client = Redis.from_url(redis_url)
    yield client
    client.close()


def named(url: str, name: str) -> str:
    """The same server's URL with another database."""
    return url.replace("/publish_worker?", f"/{name}?")


def libpq(url: str, name: str) -> str:
    """The same, as libpq spells it."""
    return named(url, name).replace("postgresql+psycopg", "postgresql")


@pytest.fixture
def platform(engine: Engine) -> Engine:
    """A database with a small platform: two workspaces, a user, categories and tags."""
    set_up(engine)
    return engine


@pytest.fixture
def desk(platform: Engine, redis: Redis) -> Desk:
    """Enqueue, carry out, relay and read: the whole path in this process, without Celery."""
    return Desk(engine=platform, redis=redis)


@pytest.fixture
def celery(tmp_path: Path, database_url: str, redis_url: str) -> Generator[Celeries]:
    """Real Celery processes on this test's database and Redis."""
    with celeries(tmp_path, database_url, redis_url) as started:
        yield started


@pytest.fixture
def send_task(redis_url: str) -> Generator[Callable[..., object]]:
    """Sends Celery messages, as a producer that has only the broker does."""
    with broker_only(redis_url) as send:
        yield send


@pytest.fixture
def api(platform: Engine, redis: Redis, redis_url: str) -> Generator[Api]:
    """The API on a small platform, with keys for several callers."""
    with serving(platform, redis, redis_url) as started:
        yield started
