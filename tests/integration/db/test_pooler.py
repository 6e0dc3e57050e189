"""Through PgBouncer, which gives each transaction another session."""

from collections.abc import Generator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine

from db.commands import due_times
from db.errors import DATABASE_ERRORS
from db.events import outlet
from db.migrate import migrate
from db.session import connect, transaction
from schemas.command import CommandState
from tests.support.pgbouncer import PROGRAM, pgbouncer
from tests.support.pipeline import Pipeline
from worker.runtime.errors_explained import explain

DROPS_OPTIONS = "ignore_startup_parameters = options"
pytestmark = pytest.mark.skipif(PROGRAM is None, reason="pgbouncer is not installed")


@pytest.fixture
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that PgBouncer's user can read."""
    folder = tmp_path_factory.mktemp("pgbouncer")
    for parent in list(folder.parents)[:2]:
        parent.chmod(0o755)
    return folder


@pytest.fixture
def url(database_url: str, folder: Path) -> Generator[str]:
    """PgBouncer's URL."""
    with pgbouncer(database_url, folder, more=DROPS_OPTIONS) as url:
        yield url


@pytest.fixture
def pooled(url: str) -> Generator[Engine]:
    """An engine with DATABASE_THROUGH_POOLER."""
    engine = connect(url, through_pooler=True)
    yield engine
    engine.dispose()


@pytest.mark.parametrize("more", ["", DROPS_OPTIONS])
def test_it_is_refused_unless_the_setting_says_so(
    database_url: str, folder: Path, more: str
) -> None:
    with pgbouncer(database_url, folder, more=more) as url:
        engine = connect(url)
        with pytest.raises(DATABASE_ERRORS) as refused, transaction(engine):
            pass
        assert "Set DATABASE_THROUGH_POOLER=true" in str(explain(refused.value))
        engine.dispose()


def test_each_transaction_has_the_settings(url: str) -> None:
    engine = connect(url, through_pooler=True, platform_schema="platform")
    with transaction(engine) as one, transaction(engine) as two:
        for tx in (one, two):
            assert tx.execute("SHOW search_path").fetchone() == ("platform,public",)
            assert tx.execute("SHOW statement_timeout").fetchone() == ("30s",)
            assert tx.execute("SHOW timezone").fetchone() == ("UTC",)
    engine.dispose()


def test_no_setting_stays_in_a_session_of_the_server(url: str, pooled: Engine) -> None:
    with transaction(pooled):
        pass
    plain = connect(url, through_pooler=True)
    with plain.connect() as connection:
        connection.rollback()
        driver: Any = connection.connection.driver_connection
        assert driver.execute("SHOW statement_timeout").fetchone() == ("0",)
    plain.dispose()


def test_commands_of_many_threads_are_carried_out_once(pipeline: Pipeline, pooled: Engine) -> None:
    through = Pipeline(engine=pooled, redis=pipeline.redis)
    videos = [pipeline.video() for _ in range(40)]
    with ThreadPoolExecutor(8) as threads:
        published = list(threads.map(partial(_publish, through), videos))
    assert {state for states in published for state in states} <= {
        CommandState.PUBLISHED,
        CommandState.SCHEDULED,  # another thread has claimed it
    }
    through.run()
    events = through.events()
    assert sorted(int(event["subject"]) for event in events) == videos
    assert [int(event["sequence"]) for event in events] == list(range(1, 41))


def _publish(pipeline: Pipeline, video: int) -> list[str]:
    return [command.state for command in pipeline.publish(video)]


def test_an_outlet_is_locked_once_and_its_lock_ends(pooled: Engine) -> None:
    with outlet.try_lock(pooled, "amqp") as first, outlet.try_lock(pooled, "amqp") as second:
        assert (first, second) == (True, False)
    with outlet.try_lock(pooled, "amqp") as third:
        assert third


def test_due_times_are_read(pooled: Engine, pipeline: Pipeline) -> None:
    with due_times.open_listener(pooled) as connection:
        before = due_times.read_upcoming(connection)
        [command] = pipeline.accept(pipeline.video()).commands
        after = due_times.read_upcoming(connection, before.now)
        assert (before.due, after.due) == ([], [command.due_at.timestamp()])
        assert due_times.read_upcoming(connection, after.now).due == []


def test_migrate_works(pooled: Engine) -> None:
    migrate(pooled, with_platform=True)
