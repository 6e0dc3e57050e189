"""Sessions that are alive but useless, and servers and clients that hang."""

from collections.abc import Generator
from typing import Any

import psycopg
import pytest
from psycopg import errors
from sqlalchemy import Engine

from db import session
from db.errors import is_away, is_passing
from db.events import outbox
from db.session import connect, get_family, transaction
from db.videos import facts_and_release, generation, lookup
from db.videos.identities import read_identities
from publish_worker_client.events.outbox import read_after
from schemas.video import VideoInput
from tests.support.pipeline import Pipeline
from tests.support.postgres_proxy import Message, postgres_proxy
from tests.support.waiting import wait_until

WRITE = "UPDATE publisher.event_position SET position = position"
COUNTER_IS_FREE = "SELECT position FROM publisher.event_position FOR UPDATE NOWAIT"
AT_WORK = """
SELECT count(*) FROM pg_stat_activity
WHERE datname = current_database() AND state = 'active' AND pid <> pg_backend_pid()
"""


@pytest.fixture
def read_only(engine: Engine, admin: psycopg.Connection) -> Generator[str]:
    """The name of a database whose new sessions are read-only, as on a server that fails over."""
    name = engine.url.database
    admin.execute(f'ALTER DATABASE "{name}" SET default_transaction_read_only = on')  # pyright: ignore[reportArgumentType, reportCallIssue]
    engine.dispose()
    yield str(name)
    admin.execute(f'ALTER DATABASE "{name}" RESET default_transaction_read_only')  # pyright: ignore[reportArgumentType, reportCallIssue]


# A failover.


@pytest.mark.usefixtures("read_only")
def test_a_read_only_server_is_refused(engine: Engine) -> None:
    with pytest.raises(psycopg.OperationalError, match="read-only") as refused, transaction(engine):
        pass
    assert is_away(refused.value)


def test_a_server_is_used_once_it_can_write_again(
    engine: Engine, read_only: str, admin: psycopg.Connection
) -> None:
    with pytest.raises(psycopg.OperationalError), transaction(engine):
        pass
    admin.execute(f'ALTER DATABASE "{read_only}" RESET default_transaction_read_only')  # pyright: ignore[reportArgumentType, reportCallIssue]
    with transaction(engine) as tx:
        tx.execute(WRITE)


@pytest.mark.usefixtures("read_only")
def test_a_reader_may_use_a_read_only_server(database_url: str) -> None:
    engine = connect(database_url, writes=False)
    with transaction(engine) as tx:
        assert read_after(tx, 0, 1) == []
    engine.dispose()


def test_the_first_read_only_error_replaces_every_session(engine: Engine) -> None:
    with transaction(engine) as one, transaction(engine) as two, transaction(engine) as three:
        for tx in (one, two, three):
            tx.execute("SET SESSION CHARACTERISTICS AS TRANSACTION READ ONLY")
    with pytest.raises(errors.ReadOnlySqlTransaction), transaction(engine) as tx:
        tx.execute(WRITE)
    with transaction(engine) as one, transaction(engine) as two, transaction(engine) as three:
        for tx in (one, two, three):
            assert tx.execute("SHOW transaction_read_only").fetchone() == ("off",)


# Ctrl-C, which may come between a statement and its answer.


def test_an_error_within_a_statement_stays_that_error(engine: Engine) -> None:
    def interrupt(tx: psycopg.Connection) -> None:
        tx.pgconn.send_query(b"SELECT pg_sleep(1)")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt), transaction(engine) as tx:
        interrupt(tx)
    assert tx.closed
    with transaction(engine) as tx:
        tx.execute(WRITE)


# Migrations of the platform.


@pytest.mark.parametrize(
    "change",
    [
        "title TYPE varchar(500)",
        "title TYPE text",
        "description TYPE varchar",
        "video TYPE varchar(4000)",
        "duration TYPE bigint",
        "duration TYPE smallint",
        "generation_progress TYPE bigint",
        "created_at TYPE timestamp",
        "updated_at TYPE timestamptz(0)",
        "visibility TYPE varchar(99)",
        "owner_id TYPE int",
        "workspace_id TYPE int",
    ],
)
def test_a_column_s_new_type_fails_no_statement(
    pipeline: Pipeline, database_url: str, change: str
) -> None:
    video = pipeline.video()
    body = VideoInput.model_construct(category=1, subcategory=1, tags=[1])

    def use_each() -> None:
        with transaction(pipeline.engine) as tx:
            read_identities(tx, [video])()
            lookup.read_resource(tx, video, None)
            lookup.read_references(tx, [body])()
            facts_and_release.read_facts(tx, [video])
            generation.lock(tx, [video], None)
            generation.lock_available(tx, [video])

    for _ in range(session.PREPARE_THRESHOLD + 2):
        use_each()
    _migrate(database_url, "DROP TRIGGER publisher_video_changed ON video")
    _migrate(database_url, f"ALTER TABLE video ALTER COLUMN {change}")
    use_each()


def test_an_outdated_plan_is_a_passing_error_and_costs_one_transaction(
    engine: Engine, database_url: str
) -> None:
    def read() -> None:
        with transaction(engine) as tx:
            tx.execute("SELECT * FROM grown")

    _migrate(database_url, "CREATE TABLE grown (a int)")
    for _ in range(session.PREPARE_THRESHOLD + 2):
        read()
    _migrate(database_url, "ALTER TABLE grown ADD b int")
    with pytest.raises(errors.FeatureNotSupported) as outdated:
        read()
    assert is_passing(outdated.value)
    read()


def _migrate(database_url: str, statement: str) -> None:
    """Change the platform's tables, in another session."""
    with psycopg.connect(database_url, autocommit=True) as platform:
        platform.execute(statement)  # pyright: ignore[reportArgumentType, reportCallIssue]


# Hanging.


def test_a_publisher_that_stops_as_it_records_events_does_not_hold_the_counter(
    pipeline: Pipeline, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def records_events(message: Message) -> bool:
        return message[:1] in b"EQ" and b"publisher.event_position" in described[-1] + message

    described = [b""]

    def hangs_after(message: Message) -> bool:
        if message[:1] == b"P":  # the statement that the next E executes
            described.append(message)
        return records_events(message)

    def append_impatiently(*arguments: Any) -> Any:
        get_family(engine).answer_seconds = 0.3
        return append(*arguments)

    append = outbox.append
    monkeypatch.setattr(outbox, "append", append_impatiently)
    pipeline.accept(pipeline.video())
    with postgres_proxy(database_url, hangs_after) as proxy:
        engine = connect(proxy.url)
        with pytest.raises(psycopg.OperationalError):
            Pipeline(engine=engine, redis=pipeline.redis).run()
        wait_until(lambda: pipeline.value(AT_WORK) == 0, "the server to have done its work")
        assert pipeline.rows(COUNTER_IS_FREE) == [(1,)]
        engine.dispose()


def test_a_server_that_does_not_answer_ends_the_wait(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("db.session.SILENCE_SECONDS", 0.2)
    with postgres_proxy(database_url, lambda message: b"pg_sleep" in message) as proxy:
        engine = connect(proxy.url, statement_seconds=0.2)
        with pytest.raises(psycopg.OperationalError, match=r"no answer for 0.4 s") as silence:
            _sleep(engine, times=1)
        assert is_away(silence.value)
        engine.dispose()


def test_a_wait_for_a_lock_ends_with_an_error_that_passes(
    engine: Engine, monkeypatch: pytest.MonkeyPatch, database_url: str
) -> None:
    monkeypatch.setitem(session._SETTINGS, "lock_timeout", "100ms")  # noqa: SLF001  # pyright: ignore[reportPrivateUsage]
    impatient = connect(database_url)
    with transaction(engine) as tx:
        tx.execute(WRITE)
        with pytest.raises(errors.LockNotAvailable) as waited, transaction(impatient) as other:
            other.execute(WRITE)
    assert is_passing(waited.value)
    impatient.dispose()


def test_the_server_ends_a_transaction_that_takes_too_long(
    engine: Engine, database_url: str
) -> None:
    with transaction(engine) as tx:
        if tx.info.server_version < 170_000:
            pytest.skip("does not apply: transaction_timeout came with PostgreSQL 17")
    limited = connect(database_url, statement_seconds=0.3)
    with pytest.raises(psycopg.Error) as ended:
        _sleep(limited, times=10)
    assert is_away(ended.value)
    limited.dispose()


def _sleep(engine: Engine, *, times: int) -> None:
    with transaction(engine) as tx:
        for _ in range(times):
            tx.execute("SELECT pg_sleep(0.1)")


def test_the_end_of_an_idle_session_is_a_lost_connection(
    engine: Engine, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(session._SETTINGS, "idle_in_transaction_session_timeout", "100ms")  # noqa: SLF001  # pyright: ignore[reportPrivateUsage]
    idle = connect(database_url)
    with pytest.raises(psycopg.Error) as ended:
        _be_idle(idle, engine)
    assert is_away(ended.value)
    wait_until(lambda: _can_write(idle), "the engine to be used again")
    idle.dispose()


def _be_idle(idle: Engine, engine: Engine) -> None:
    with transaction(idle) as tx:
        tx.execute(WRITE)
        pid = tx.info.backend_pid
        wait_until(lambda: not _is_alive(engine, pid), "the server to end the session")
        tx.execute(WRITE)


def _can_write(engine: Engine) -> bool:
    """Whether it can, unless this machine pauses for longer than the server allows."""
    try:
        with transaction(engine) as tx:
            tx.execute(WRITE)
    except psycopg.Error:
        return False
    return True


def _is_alive(engine: Engine, pid: int) -> bool:
    with transaction(engine) as tx:
        query = "SELECT EXISTS (SELECT FROM pg_stat_activity WHERE pid = %s)"
        return tx.execute(query, [pid]).fetchone() == (True,)


# Several hosts.


def test_of_several_hosts_the_one_that_can_write_is_used(database_url: str) -> None:
    engine = connect(
        database_url.replace("host=", "host=/nowhere,").replace("port=5432", "port=1,5432")
    )
    with transaction(engine) as tx:
        tx.execute(WRITE)
    engine.dispose()


# Parameters of the URL.


def test_the_options_of_the_url_are_added_to_ours(database_url: str) -> None:
    engine = connect(f"{database_url}&options=-c%20work_mem%3D8MB%20-c%20lock_timeout%3D3s")
    with transaction(engine) as tx:
        for name, value in (("work_mem", "8MB"), ("lock_timeout", "3s"), ("timezone", "UTC")):
            assert tx.execute(f"SHOW {name}").fetchone() == (value,)  # pyright: ignore[reportArgumentType, reportCallIssue]
    engine.dispose()
