"""Enqueue in SQL on the oldest supported PostgreSQL, and with two-phase commit."""

import tempfile
from collections.abc import Generator
from pathlib import Path

import psycopg
import pytest
from alembic import command
from redis import Redis

from db.commands import due_times
from db.migrate import configuration, migrate
from db.session import connect
from tests.support.pipeline import Pipeline
from tests.support.platform import set_up
from tests.support.postgres_server import DEBIAN_15, EMBEDDED, postgres_server
from tests.support.sql_door import enqueue
from tests.support.waiting import PATIENCE
from worker.enqueue.announcements import announce

pytestmark = pytest.mark.slow
SERVERS = [
    pytest.param(EMBEDDED, id="embedded"),
    pytest.param(
        DEBIAN_15,
        id="15",
        marks=pytest.mark.skipif(not DEBIAN_15.exists(), reason="PostgreSQL 15 is not installed"),
    ),
]


@pytest.fixture(scope="module", params=SERVERS)
def server_url(request: pytest.FixtureRequest) -> Generator[str]:
    """A server with two-phase commit, of each version; migrated, with a small platform."""
    with (
        tempfile.TemporaryDirectory(prefix="pw-test-", dir="/var/tmp") as folder,
        postgres_server(request.param, Path(folder), "max_prepared_transactions=5") as url,
    ):
        engine = connect(url)
        migrate(engine, with_platform=True)
        set_up(engine)
        engine.dispose()
        yield url


@pytest.fixture
def there(server_url: str, redis: Redis) -> Generator[Pipeline]:
    """The whole path on that server."""
    engine = connect(server_url)
    yield Pipeline(engine=engine, redis=redis)
    engine.dispose()


def test_commands_are_accepted_announced_and_carried_out(there: Pipeline) -> None:
    video = there.video()
    first = enqueue(there, video)
    window = enqueue(
        there,
        video,
        publish_at_local="2099-12-01 18:00",
        unpublish_at_local="2099-12-02 18:00",
        time_zone="Europe/Berlin",
        idempotency_key="k",
        expected_revision=0,
    )
    assert (first.version, window.version) == (7, 7)
    assert first < window
    assert announce(there.engine, lambda _: None) == 2
    assert there.run() == 1
    assert there.command(first).state == "published"


def test_a_prepared_transaction_holds_up_no_other(there: Pipeline, server_url: str) -> None:
    mine, other, later = there.video(), there.video(), there.video()
    with (
        psycopg.connect(server_url) as caller,
        due_times.open_listener(there.engine) as listener,
    ):
        caller.tpc_begin("one")
        caller.execute("SELECT publisher.enqueue_publish(%s)", (mine,))
        caller.execute("SELECT publisher.enqueue_publish(%s, publish_at => 'tomorrow')", (later,))
        caller.tpc_prepare()
        enqueue(there, other)
        assert due_times.wait_for_notification(listener, PATIENCE) == [None]
        assert there.run() == 1
        enqueue(there, other, publish_at="tomorrow")
        assert due_times.wait_for_notification(listener, PATIENCE) == [due_times.ANNOUNCE]
        assert announce(there.engine, lambda _: None) == 1
        caller.tpc_commit()
    assert announce(there.engine, lambda _: None) == 1
    assert there.run() == 1
    states = "SELECT state FROM publisher.publish_command WHERE video_id = %s"
    assert there.value(states, mine) == "published"


def test_generation_may_end_in_a_prepared_transaction(there: Pipeline, server_url: str) -> None:
    [waiting] = there.publish(there.video(status="in_progress"))
    with psycopg.connect(server_url) as caller:
        caller.tpc_begin("two")
        caller.execute("UPDATE video SET status = 'completed' WHERE id = %s", (waiting.video_id,))
        caller.tpc_prepare()
        caller.tpc_commit()
    there.run()
    assert there.command(waiting.id).state == "published"


def test_the_migration_can_be_undone_and_repeated(there: Pipeline) -> None:
    with there.engine.begin() as connection:
        command.downgrade(configuration(connection), "publisher@publisher_0019")
    migrate(there.engine)
    enqueue(there, there.video())
    assert there.run() == 1
