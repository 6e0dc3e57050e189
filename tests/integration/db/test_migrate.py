"""Migrations: safe to run twice and from two hosts at once, ours apart from the platform's."""

import re
import threading
from collections.abc import Generator
from pathlib import Path
from typing import Any

import psycopg
import pytest
from alembic import command
from alembic.script import ScriptDirectory
from psycopg import sql
from sqlalchemy import Engine, text

from db.commands.due_times import has_generation_trigger
from db.migrate import configuration, migrate
from db.revision import NEEDED, is_migrated
from db.session import connect, transaction
from tests.conftest import libpq, named
from worker.local.engines import Engines

OLD_SCHEMA = Path(__file__).parents[2] / "support" / "schema_before_0_2_0.sql"
"""What the migrations up to publisher_0004 and platform_0002 made."""
DESCRIBE = """
WITH here AS (
    SELECT oid FROM pg_class
    WHERE relnamespace IN ('publisher'::regnamespace, 'public'::regnamespace)
)
SELECT 'column', attrelid::regclass::text, attname::text,
       concat_ws(' ', format_type(atttypid, atttypmod), pg_get_expr(adbin, adrelid), attnotnull,
                 nullif(attstattarget, -1))
FROM pg_attribute LEFT JOIN pg_attrdef ON (adrelid, adnum) = (attrelid, attnum)
WHERE attrelid IN (SELECT * FROM here) AND attnum > 0 AND NOT attisdropped
UNION ALL
SELECT 'table', oid::regclass::text, '', concat(relpersistence, reloptions) FROM pg_class
WHERE oid IN (SELECT * FROM here)
UNION ALL
SELECT 'constraint', conrelid::regclass::text, conname::text, pg_get_constraintdef(oid)
FROM pg_constraint WHERE conrelid IN (SELECT * FROM here) AND contype <> 'n'
UNION ALL
SELECT 'index', indrelid::regclass::text, indexrelid::regclass::text, pg_get_indexdef(indexrelid)
FROM pg_index WHERE indrelid IN (SELECT * FROM here)
UNION ALL
SELECT 'function', proname::text, '', pg_get_functiondef(oid)
FROM pg_proc WHERE pronamespace = 'publisher'::regnamespace
UNION ALL
SELECT 'trigger', tgrelid::regclass::text, tgname::text, pg_get_triggerdef(oid)
FROM pg_trigger WHERE NOT tgisinternal
"""

ANOTHER_TRIGGER = """
CREATE TRIGGER publisher_video_changed AFTER UPDATE ON video FOR EACH ROW
EXECUTE FUNCTION publisher.video_turned()
"""
NEW_FUNCTION = """
CREATE FUNCTION publisher.video_changed() RETURNS trigger LANGUAGE plpgsql AS
'BEGIN RETURN NULL; END'
"""

CAST = re.compile(r"::[a-z ]+(\[\])?|[()]")
"""PostgreSQL spells casts and parentheses otherwise after a dump."""


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


def describe(engine: Engine) -> set[tuple[str, ...]]:
    """Every column, constraint, index, function and trigger, whatever the order of the columns."""
    with engine.connect() as connection:
        return {(*names, CAST.sub("", sql)) for *names, sql in connection.execute(text(DESCRIBE))}


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


def test_migrate_makes_only_our_schema_by_default(empty: Engine) -> None:
    migrate(empty)
    assert {schema for schema, _ in tables(empty)} == {"publisher"}


def test_the_platforms_tables_can_be_added_later(empty: Engine) -> None:
    migrate(empty)
    migrate(empty, with_platform=True)
    assert ("public", "video") in tables(empty)


def test_a_new_database_is_not_migrated(empty: Engine) -> None:
    assert not is_migrated(empty)


def test_the_code_needs_the_newest_migration(empty: Engine) -> None:
    with empty.connect() as connection:
        scripts = ScriptDirectory.from_config(configuration(connection))
    assert scripts.get_revision("publisher@head").revision == NEEDED


def test_upgrading_leads_to_the_schema_of_a_new_database(empty: Engine, pipeline: Any) -> None:
    with empty.begin() as connection:
        connection.exec_driver_sql(OLD_SCHEMA.read_text())
    migrate(empty, with_platform=True)
    assert describe(empty) == describe(pipeline.engine)
    assert is_migrated(empty)


@pytest.mark.parametrize(
    ("before", "triggers"),
    [
        ("DROP TRIGGER publisher_video_turned ON video", []),
        (ANOTHER_TRIGGER, ["publisher_video_changed"]),
        (
            f"{ANOTHER_TRIGGER}; ALTER TABLE video DISABLE TRIGGER publisher_video_changed",
            ["publisher_video_changed"],
        ),
        (
            f"{ANOTHER_TRIGGER}; ALTER TABLE video DISABLE TRIGGER publisher_video_turned",
            ["publisher_video_changed"],
        ),
        ("DROP TABLE video CASCADE", []),
        (
            "CREATE SCHEMA studio; ALTER TABLE video SET SCHEMA studio",
            ["publisher_video_changed"],
        ),
        ("DROP FUNCTION publisher.video_turned CASCADE", []),
        (
            "ALTER FUNCTION publisher.video_turned RENAME TO video_changed",
            ["publisher_video_changed"],
        ),
        (NEW_FUNCTION, ["publisher_video_changed"]),
        (
            f"{NEW_FUNCTION}; {ANOTHER_TRIGGER.replace('video_turned', 'video_changed')}",
            ["publisher_video_changed"],
        ),
    ],
)
def test_a_trigger_that_an_operator_changed_does_not_stop_the_upgrade(
    empty: Engine, before: str, triggers: list[str]
) -> None:
    with empty.begin() as connection:
        connection.exec_driver_sql(OLD_SCHEMA.read_text())
        connection.exec_driver_sql(f"SET search_path = public; {before}")
    migrate(empty, with_platform=True)
    with empty.connect() as connection:
        query = "SELECT tgname::text FROM pg_trigger WHERE tgname ~ '_video_' AND tgenabled = 'O'"
        assert list(connection.scalars(text(query))) == triggers
    with transaction(empty) as tx:
        assert has_generation_trigger(tx) is bool(triggers)
    assert is_migrated(empty)


def test_an_upgrade_can_be_undone(empty: Engine) -> None:
    with empty.begin() as connection:
        connection.exec_driver_sql(OLD_SCHEMA.read_text())
    before = describe(empty)
    migrate(empty, with_platform=True)
    with empty.begin() as connection:
        command.downgrade(configuration(connection), "publisher@publisher_0004")
        command.downgrade(configuration(connection), "platform@platform_0002")
    assert {each for each in describe(empty) if each[0] != "function"} == {
        each for each in before if each[0] != "function"
    }


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
