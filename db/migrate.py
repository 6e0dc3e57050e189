"""Bring the database up to date; safe to run twice, and from two hosts at the same time."""

from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, Engine, text

from db.tables.publisher import SCHEMA

LOCK = 7_305_112_026
"""The advisory lock that lets one migration run at a time; any number that is ours alone."""


def migrate(engine: Engine, *, with_platform: bool = False) -> None:
    """Upgrade our schema, and the platform's tables too if asked for."""
    with engine.begin() as connection:
        connection.execute(text("SET LOCAL statement_timeout = 0"))
        connection.execute(text("SET LOCAL idle_in_transaction_session_timeout = 0"))
        connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": LOCK})
        # Only if it is missing: IF NOT EXISTS asks for the right to create schemas all the same.
        if not connection.dialect.has_schema(connection, SCHEMA):
            connection.execute(text(f"CREATE SCHEMA {SCHEMA}"))
        command.upgrade(configuration(connection), "publisher@head")
        if with_platform:
            command.upgrade(configuration(connection), "platform@head")


def is_migrated(engine: Engine) -> bool:
    """Whether our schema is at the revision that this code needs."""
    with engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"version_table_schema": SCHEMA})
        scripts = ScriptDirectory.from_config(configuration(connection))
        wanted = scripts.get_revision("publisher@head")
        return wanted.revision in context.get_current_heads()


def configuration(connection: Connection) -> Config:
    """Alembic's configuration, on a connection that is open already."""
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
    config.attributes["connection"] = connection
    return config
