"""What a measurement runs on: durable engines, and for each run a new database and stream."""

import os
import shutil
import tempfile
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import LiteralString
from unittest.mock import patch

import psycopg
from psycopg import sql
from redis import Redis
from sqlalchemy import Engine

from bench.processes import Logs
from db.migrate import migrate
from db.sample_data import load_sample, multiply_ready
from db.session import Connection, connect, get_family
from worker.local.engines import DATABASE, Engines, engines

WORKSPACE = 1
"""The sample workspace whose ready videos are copied."""
RUN_DATABASE = "bench_run"
CLONE = sql.SQL("CREATE DATABASE {} TEMPLATE {} STRATEGY FILE_COPY")
DROP = sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)")
KEEP_COMMIT_TIMES = "ALTER SYSTEM SET track_commit_timestamp = on"
"""Takes effect at the next start. Ten bytes a transaction; lateness is measured to the commit."""


@dataclass(frozen=True, kw_only=True)
class Run:
    """One run's new database and empty stream, and the ids of its drafts."""

    engine: Engine
    redis: Redis
    environment: dict[str, str]
    """Environment variables of the processes."""
    video_ids: list[int]
    logs: Logs


@dataclass(frozen=True, kw_only=True)
class Setup:
    """Engines that stay up for all runs, and the filled database that each run gets a copy of."""

    found: Engines
    video_ids: list[int]
    home: Path

    @contextmanager
    def run(self) -> Generator[Run]:
        """Copy the filled database, empty Redis, and drop the copy at the end."""
        copy, original = sql.Identifier(RUN_DATABASE), sql.Identifier(DATABASE)
        _administer(self.found, DROP.format(copy))
        _administer(self.found, CLONE.format(copy, original))
        database_url = _named(self.found.database_url, RUN_DATABASE)
        engine = connect(database_url)
        with Redis.from_url(self.found.redis_url) as redis:
            redis.flushall()
            yield Run(
                engine=engine,
                redis=redis,
                environment=environment(database_url, self.found.redis_url),
                video_ids=self.video_ids,
                logs=Logs(self.home / "logs"),
            )
        engine.dispose()
        _administer(self.found, DROP.format(copy))


@contextmanager
def set_up(videos: int) -> Generator[Setup]:
    """Start the engines, durable as in production, and fill a database with ready drafts."""
    home = Path(tempfile.mkdtemp(prefix="pw-bench-", dir="/var/tmp"))
    home.chmod(0o755)  # as root the engines run as `nobody`
    (home / "logs").mkdir()
    try:
        with engines(home / "data", durable=True) as found:
            _administer(found, KEEP_COMMIT_TIMES)
        with engines(home / "data", durable=True) as found:
            ids = _fill(found.database_url, videos)
            # This process is a producer too: its Celery app reads the same settings.
            with patch.dict(os.environ, environment(found.database_url, found.redis_url)):
                yield Setup(found=found, video_ids=ids, home=home)
    finally:
        shutil.rmtree(home, ignore_errors=True)


def environment(database_url: str, redis_url: str) -> dict[str, str]:
    """The settings of every process that takes part; logs as in production."""
    return {
        "DATABASE_URL": database_url,
        "REDIS_URL": redis_url,
        "BROKER_URL": redis_url,
        "PUBLIC_BASE_URL": "https://videos.example.com",
        "LOG_FORMAT": "json",
    }


def _administer(found: Engines, statement: LiteralString | sql.Composed) -> None:
    url = _named(found.database_url, "postgres").replace("+psycopg", "")
    with psycopg.connect(url, autocommit=True) as admin:
        admin.execute(statement)


def _fill(database_url: str, videos: int) -> list[int]:
    engine = connect(database_url)
    migrate(engine, with_platform=True)
    with unlimited(engine) as tx:
        load_sample(tx)
        ids = multiply_ready(tx, workspace_id=WORKSPACE, count=videos)
    vacuum(engine)
    engine.dispose()
    return ids


@contextmanager
def unlimited(engine: Engine, *, autocommit: bool = False) -> Generator[Connection]:
    """A transaction in a session of its own, without our time limits: for filling tables."""
    parameters = get_family(engine).parameters
    with psycopg.connect(**parameters, autocommit=autocommit) as session:
        for limit in ("statement", "lock", "idle_in_transaction_session"):
            session.execute(f"SET {limit}_timeout = 0")
        yield session


def vacuum(engine: Engine, *, checkpoint: bool = False) -> None:
    """Vacuum and analyse, as autovacuum leaves tables that have been there a while."""
    with unlimited(engine, autocommit=True) as session:
        session.execute("VACUUM ANALYZE")
        if checkpoint:
            session.execute("CHECKPOINT")


def _named(url: str, name: str) -> str:
    return url.replace(f"/{DATABASE}?", f"/{name}?")
