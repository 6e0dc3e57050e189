"""Migrations: safe to run twice and from two hosts at once, ours apart from the platform's."""

import threading
from collections.abc import Generator
from typing import Any

import psycopg
import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from psycopg import sql
from sqlalchemy import Engine, text

from db.migrate import configuration, is_migrated, migrate
from db.session import connect
from db.tables.platform import Platform
from db.tables.publisher import Publisher
from tests.conftest import libpq, named
from worker.local.engines import Engines


@pytest.fixture
def empty(running: Engines) -> Generator[Engine]:
    """A database with nothing in it."""
    admin_url = libpq(running.database_url, "postgres")
    name = sql.Identifier("test_empty")
    with psycopg.connect(admin_url, autocommit=True) as admin:
        admin.execute(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(name))
        admin.execute(sql.SQL("CREATE DATABASE {}").format(name))
    engine = connect(named(running.database_url, "test_empty"))
    yield engine
    engine.dispose()


def tables(engine: Engine) -> set[tuple[str, str]]:
    query = """
    SELECT table_schema, table_name FROM information_schema.tables
    WHERE table_schema NOT IN ('pg_catalog', 'information_schema')
    """
    with engine.connect() as connection:
        return {(schema, name) for schema, name in connection.execute(text(query))}


def test_migrating_twice_is_migrating_once(empty: Engine) -> None:
    migrate(empty, with_platform=True)
    before = tables(empty)
    migrate(empty, with_platform=True)
    assert tables(empty) == before


def test_two_hosts_may_migrate_at_the_same_time(empty: Engine) -> None:
    failures: list[BaseException] = []

    def attempt() -> None:
        try:
            migrate(empty, with_platform=True)
        except BaseException as error:  # noqa: BLE001 - the test wants to see any
            failures.append(error)

    hosts = [threading.Thread(target=attempt) for _ in range(4)]
    for host in hosts:
        host.start()
    for host in hosts:
        host.join()
    assert failures == []
    assert is_migrated(empty)


def test_without_a_word_about_the_platform_only_our_schema_is_made(empty: Engine) -> None:
    migrate(empty)
    assert {schema for schema, _ in tables(empty)} == {"publisher"}


def test_the_platforms_tables_can_be_added_later(empty: Engine) -> None:
    migrate(empty)
    migrate(empty, with_platform=True)
    assert ("public", "video") in tables(empty)


def test_a_database_that_was_never_migrated_says_so(empty: Engine) -> None:
    assert not is_migrated(empty)


@pytest.mark.parametrize("base", [Platform, Publisher])
def test_the_migrations_make_what_the_code_declares(empty: Engine, base: Any) -> None:
    migrate(empty, with_platform=True)
    schemas = {table.schema for table in base.metadata.tables.values()}

    def include(_: Any, name: str | None, kind: str, *__: Any) -> bool:
        return kind != "table" or any(name == table.name for table in base.metadata.tables.values())

    options = {
        "include_schemas": schemas != {None},
        "include_object": include,
        "compare_type": True,
        "compare_server_default": True,
    }
    with empty.connect() as connection:
        context = MigrationContext.configure(connection, opts=options)
        assert compare_metadata(context, base.metadata) == []


def test_downgrading_leaves_nothing_behind(empty: Engine) -> None:
    migrate(empty, with_platform=True)
    with empty.begin() as connection:
        command.downgrade(configuration(connection), "base")
    assert tables(empty) == {("publisher", "alembic_version")}


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE publisher.publish_command SET state = 'done'",
        "UPDATE publisher.publish_command SET trigger = 'magic'",
        "UPDATE publisher.publish_command SET finished_at = now()",
        "UPDATE publisher.publish_command SET state = 'published'",
    ],
)
def test_the_database_itself_checks_states(pipeline: Any, statement: str) -> None:
    pipeline.accept(pipeline.video())
    with pytest.raises(psycopg.errors.CheckViolation):
        pipeline.execute(statement)


@pytest.mark.parametrize("column", ["status", "internal_status", "visibility"])
def test_the_database_itself_checks_enumerations(pipeline: Any, column: str) -> None:
    with pytest.raises(psycopg.errors.CheckViolation):
        pipeline.video(**{column: "whatever"})


def test_there_is_one_counter_and_no_second(pipeline: Any) -> None:
    with pytest.raises(psycopg.errors.UniqueViolation):
        pipeline.execute("INSERT INTO publisher.event_position DEFAULT VALUES")
