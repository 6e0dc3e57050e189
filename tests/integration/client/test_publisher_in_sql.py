"""Publisher(connection): the command exists if and only if the caller's transaction commits."""

import asyncio
from collections.abc import AsyncGenerator, Callable, Generator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, asynccontextmanager, contextmanager
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any
from uuid import uuid4

import psycopg
import pytest
from psycopg import errors
from psycopg.rows import dict_row, scalar_row
from psycopg.types.json import Jsonb
from sqlalchemy import Engine
from sqlalchemy.event import listen
from sqlalchemy.ext.asyncio import AsyncSession, create_async_engine
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column

from publish_worker_client import (
    Action,
    AsyncPublisher,
    ChangedVideo,
    InvalidPublication,
    Publication,
    Publisher,
    PublishError,
    PublishRefused,
    ReusedKey,
    UnknownVideo,
)
from publish_worker_client.servers.database_url import read_url
from tests.support.pgbouncer import PROGRAM, pgbouncer
from tests.support.pipeline import Pipeline


class Base(DeclarativeBase):
    """Tables of a caller."""


class Thing(Base):
    """A row that a caller writes in the same transaction."""

    __tablename__ = "thing"

    id: Mapped[int] = mapped_column(primary_key=True)


COUNT = "SELECT count(*) FROM publisher.publish_command"
Open = Callable[[Engine], AbstractContextManager[Any]]


def connect(engine: Engine, **options: Any) -> psycopg.Connection[Any]:
    url = engine.url.render_as_string(hide_password=False)
    return psycopg.connect(**read_url(url), **options)


@contextmanager
def open_session(engine: Engine) -> Generator[Session]:
    with Session(engine) as session:
        yield session


KINDS: dict[str, Open] = {
    "psycopg": connect,
    "psycopg with rows as dictionaries": lambda engine: connect(engine, row_factory=dict_row),
    "psycopg with scalars as rows": lambda engine: connect(engine, row_factory=scalar_row),
    "psycopg with cursors of its own": lambda engine: connect(
        engine, cursor_factory=psycopg.RawCursor
    ),
    "SQLAlchemy's connection": Engine.connect,
    "SQLAlchemy's session": open_session,
}


@pytest.fixture(params=KINDS.values(), ids=list(KINDS))
def opened(request: pytest.FixtureRequest, pipeline: Pipeline) -> Generator[Any]:
    """A connection of each kind, in a transaction of its own."""
    with request.param(pipeline.engine) as connection:
        yield connection


def test_the_command_is_carried_out_once_after_the_commit(pipeline: Pipeline, opened: Any) -> None:
    video = pipeline.video()
    command_id = Publisher(opened).publish(video, correlation_id="job-4711")
    assert pipeline.value(COUNT) == 0
    opened.commit()
    assert pipeline.run() == 1
    [event] = pipeline.events()
    assert (event["type"], event["subject"]) == ("video.published", str(video))
    assert (event["causationid"], event["correlationid"]) == (str(command_id), "job-4711")


def test_after_a_rollback_there_is_no_command(pipeline: Pipeline, opened: Any) -> None:
    Publisher(opened).publish(pipeline.video())
    opened.rollback()
    assert pipeline.value(COUNT) == 0


def test_a_refusal_has_its_own_class_and_says_what_to_do(pipeline: Pipeline, opened: Any) -> None:
    with pytest.raises(UnknownVideo, match="999999"):
        Publisher(opened).publish(999_999)
    opened.rollback()
    video = pipeline.video()
    with pytest.raises(ChangedVideo):
        Publisher(opened).publish(video, expected_revision=7)
    opened.rollback()
    Publisher(opened).publish(video, idempotency_key="job-4711")
    with pytest.raises(ReusedKey):
        Publisher(opened).publish(pipeline.video(), idempotency_key="job-4711")


def test_the_same_key_returns_the_same_command(pipeline: Pipeline, opened: Any) -> None:
    video = pipeline.video()
    first = Publisher(opened).publish(video, idempotency_key="job-4711")
    assert Publisher(opened).publish(video, idempotency_key="job-4711") == first


def test_an_error_that_is_not_a_refusal_is_the_drivers(engine: Engine) -> None:
    with connect(engine) as connection:
        with pytest.raises(psycopg.errors.SyntaxError):
            connection.execute("SELEC 1")
        with pytest.raises(psycopg.errors.InFailedSqlTransaction):
            Publisher(connection).publish(1)


def test_an_error_of_a_sessions_objects_is_not_a_refusal(pipeline: Pipeline) -> None:
    def refuse(*_: object) -> None:
        raise errors.InsufficientPrivilege("permission denied for the caller's table")

    with Session(pipeline.engine) as session:
        listen(session, "before_flush", refuse)
        session.add(Thing(id=1))
        with pytest.raises(errors.InsufficientPrivilege, match="the caller's table"):
            Publisher(session).publish(pipeline.video())


def test_a_connection_of_the_other_kind_is_refused_at_once(pipeline: Pipeline) -> None:
    with connect(pipeline.engine) as connection, pytest.raises(TypeError, match="AsyncPublisher"):
        AsyncPublisher(connection)


def test_text_that_cannot_be_stored_does_not_fail_the_transaction(pipeline: Pipeline) -> None:
    video = pipeline.video()
    with connect(pipeline.engine) as connection:
        for text in ("a\0b", "\ud800"):
            with pytest.raises(InvalidPublication, match="UTF-8"):
                Publisher(connection).publish(video, correlation_id=text)
        with pytest.raises(InvalidPublication, match="empty"):
            Publisher(connection).publish(video, idempotency_key="")
        Publisher(connection).publish(video)


def test_times_are_instants_or_local_times(pipeline: Pipeline) -> None:
    begin = datetime(2030, 6, 1, 18, tzinfo=UTC)
    first, second, third = (pipeline.video() for _ in range(3))
    with connect(pipeline.engine) as connection:
        publisher = Publisher(connection)
        window = publisher.publish(first, at=begin, until=begin + timedelta(days=1))
        local = publisher.publish(second, at=datetime(2030, 6, 1, 18), time_zone="Africa/Cairo")  # noqa: DTZ001 - a wall-clock time
        end = publisher.unpublish(third, at=begin)
    assert pipeline.command(window).asked_for == begin
    assert pipeline.command(local).asked_for == datetime(2030, 6, 1, 15, tzinfo=UTC)
    assert pipeline.command(local).time_zone == "Africa/Cairo"
    assert (pipeline.command(end).action, pipeline.command(end).asked_for) == ("unpublish", begin)
    assert pipeline.value(COUNT) == 4


def test_several_publications_are_accepted_in_one_statement_in_their_order(
    pipeline: Pipeline,
) -> None:
    videos = [pipeline.video() for _ in range(3)]
    wanted = [
        Publication(video_id=videos[2]),
        Publication(video_id=videos[0], action=Action.UNPUBLISH),
        Publication(video_id=videos[1], deadline=datetime.now(UTC) + timedelta(hours=1)),
    ]
    with connect(pipeline.engine) as connection:
        ids = Publisher(connection).enqueue(wanted, idempotency_key="night")
        assert Publisher(connection).enqueue(wanted, idempotency_key="night") == ids
    assert [pipeline.command(each).video_id for each in ids] == [videos[2], videos[0], videos[1]]


def test_a_batch_that_has_changed_is_not_accepted_by_the_same_key(pipeline: Pipeline) -> None:
    first, second, third, fourth = (Publication(video_id=pipeline.video()) for _ in range(4))
    with connect(pipeline.engine) as connection:
        Publisher(connection).enqueue([first, second, third], idempotency_key="night")
        connection.commit()
        others = [
            [first, second, third, fourth],
            [fourth, first, second, third],
            [first, second, fourth, third],
            [first, second],
            [second, third],
            [first, third, second],
            [fourth],
        ]
        for other in others:
            with pytest.raises(ReusedKey):
                Publisher(connection).enqueue(other, idempotency_key="night")
            connection.rollback()
        alone = Publisher(connection).enqueue([third], idempotency_key="night")
        assert (
            Publisher(connection).enqueue([first, second, third], idempotency_key="night")[2:]
            == alone
        )
    assert pipeline.value(COUNT) == 3


@pytest.mark.parametrize(("count", "longest"), [(1, 255), (2, 249)])
def test_a_key_that_is_too_long_is_refused_with_the_length_that_fits(
    pipeline: Pipeline, count: int, longest: int
) -> None:
    publications = [Publication(video_id=pipeline.video()) for _ in range(count)]
    with connect(pipeline.engine) as connection:
        publisher = Publisher(connection)
        with pytest.raises(InvalidPublication, match=f"at most {longest} characters here"):
            publisher.enqueue(publications, idempotency_key="k" * (longest + 1))
        assert len(publisher.enqueue(publications, idempotency_key="k" * longest)) == count


@pytest.mark.skipif(PROGRAM is None, reason="PgBouncer is not installed")
def test_through_a_pooler_each_thread_enqueues_often(pipeline: Pipeline, tmp_path: Path) -> None:
    """After five times psycopg prepares a statement, and the pooler gives out other sessions."""
    videos = [pipeline.video() for _ in range(6)]

    def publish(url: str, video: int) -> None:
        with psycopg.connect(url) as connection:
            for _ in range(10):
                Publisher(connection).publish(video, idempotency_key=f"of-{video}")
                connection.commit()

    url = pipeline.engine.url.set(drivername="postgresql").render_as_string(hide_password=False)
    with pgbouncer(url, tmp_path) as pooler, ThreadPoolExecutor(len(videos)) as threads:
        list(threads.map(partial(publish, pooler), videos))
    assert pipeline.value(COUNT) == len(videos)


def test_on_a_connection_without_a_transaction_the_command_exists_at_once(
    pipeline: Pipeline,
) -> None:
    with connect(pipeline.engine, autocommit=True) as connection:
        Publisher(connection).publish(pipeline.video())
        assert pipeline.value(COUNT) == 1
        with pytest.raises(UnknownVideo):
            Publisher(connection).enqueue(
                [Publication(video_id=pipeline.video()), Publication(video_id=999_999)]
            )
    assert pipeline.value(COUNT) == 1


def test_a_refusal_that_a_newer_function_adds_is_a_refusal(pipeline: Pipeline) -> None:
    pipeline.execute("ALTER TABLE video RENAME TO other")
    refusing = pytest.raises(PublishRefused, match="PLATFORM_SCHEMA")
    with connect(pipeline.engine) as connection, refusing as refused:
        Publisher(connection).publish(7)
    assert type(refused.value) is PublishRefused


def test_a_time_without_an_offset_needs_a_time_zone(engine: Engine) -> None:
    with connect(engine) as connection, pytest.raises(InvalidPublication, match="time_zone"):
        Publisher(connection).publish(7, at=datetime(2030, 6, 1))  # noqa: DTZ001 - as a caller may


def test_fields_of_the_video_are_refused_with_the_way_to_go(pipeline: Pipeline) -> None:
    with connect(pipeline.engine) as connection:
        with pytest.raises(InvalidPublication, match="over HTTP only"):
            Publisher(connection).publish(pipeline.video(), video={"title": "x"})
        command_id = Publisher(connection).publish(pipeline.video())
        with pytest.raises(PublishError, match="over HTTP only"):
            Publisher(connection).await_outcome(command_id)


def test_a_video_that_is_inserted_in_the_same_transaction_is_published(
    pipeline: Pipeline,
) -> None:
    other = pipeline.video()
    copy = "INSERT INTO video SELECT (jsonb_populate_record(v, %s)).* FROM video v WHERE id = %s"
    new = Jsonb({"id": 4_711, "uid": str(uuid4())})
    with connect(pipeline.engine) as connection:
        connection.execute(copy, (new, other))
        Publisher(connection).publish(4_711)
    assert pipeline.run() == 1
    assert pipeline.events()[0]["subject"] == "4711"


def test_an_unknown_option_is_an_error(engine: Engine) -> None:
    with connect(engine) as connection, pytest.raises(TypeError, match="publish_at"):
        Publisher(connection).publish(7, publish_at="now")  # pyright: ignore[reportCallIssue]


@asynccontextmanager
async def open_psycopg(url: str) -> AsyncGenerator[Any]:
    connection = await psycopg.AsyncConnection.connect(**read_url(url))
    async with connection:
        yield connection


@asynccontextmanager
async def open_async_session(url: str) -> AsyncGenerator[Any]:
    engine = create_async_engine(url)
    async with AsyncSession(engine) as session:
        yield session
    await engine.dispose()


@pytest.mark.parametrize("opening", [open_psycopg, open_async_session])
def test_on_asyncio_it_is_the_same(pipeline: Pipeline, opening: Any) -> None:
    url = pipeline.engine.url.render_as_string(hide_password=False)
    kept, undone = pipeline.video(), pipeline.video()

    async def publish() -> None:
        async with opening(url) as connection:
            await AsyncPublisher(connection).publish(undone)
            await connection.rollback()
            await AsyncPublisher(connection).publish(kept)
            await connection.commit()

    asyncio.run(publish())
    assert pipeline.rows("SELECT video_id FROM publisher.publish_command") == [(kept,)]
