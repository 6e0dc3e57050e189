"""Bring the database up to date; safe to run twice, and from two hosts at the same time.

A new database gets the tables as `db/tables` declares them; an older one is upgraded by the
migrations. tests/integration/db/test_migrate.py shows that both ways lead to the same schema.
"""

from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.util import CommandError
from sqlalchemy import Connection, Engine, MetaData, text

from db.errors import OtherVersion
from db.platform_schema import check_platform_schema
from db.session import no_limits
from db.tables.enqueue_functions import ENQUEUE, FOLLOW_SEARCH_PATH
from db.tables.platform import Platform
from db.tables.publisher import COUNTER, SCHEMA, Publisher
from db.tables.statistics import NO_STATES
from db.tables.triggers import (
    AUDIT,
    COMMAND_COMMITTED,
    NOTIFY_DUE,
    ON_COMMAND_COMMITTED,
    ON_VIDEO_CHANGED,
    ON_WAIT_ENDED,
    VIDEO_CHANGED,
)

OURS = (
    COUNTER,
    NO_STATES,
    VIDEO_CHANGED,
    NOTIFY_DUE,
    ON_WAIT_ENDED,
    *AUDIT,
    COMMAND_COMMITTED,
    ON_COMMAND_COMMITTED,
    *ENQUEUE,
)
"""What our schema has besides its tables."""

LOCK = 7_305_112_026
"""The advisory lock that lets one migration run at a time; any number that is ours alone."""


def migrate(engine: Engine, *, with_platform: bool = False) -> None:
    """Create or upgrade our schema, and the platform's tables too if asked for.

    With nothing changed, raises OtherVersion if this code does not know the schema's revision, and
    WrongPlatformSchema rather than make a second table `video`.
    """
    with engine.begin() as connection, no_limits(connection), _unknown_revision_explained():
        connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": LOCK})
        # Only if it is missing: IF NOT EXISTS asks for the right to create schemas all the same.
        if not connection.dialect.has_schema(connection, SCHEMA):
            connection.execute(text(f"CREATE SCHEMA {SCHEMA}"))
        _migrate(connection, "publisher", Publisher.metadata, *OURS)
        connection.execute(text(FOLLOW_SEARCH_PATH))
        if with_platform:
            _refuse_second_platform(connection)
            _migrate(connection, "platform", Platform.metadata, ON_VIDEO_CHANGED)


def _refuse_second_platform(connection: Connection) -> None:
    """Raise WrongPlatformSchema if the tables would be made beside those of another schema."""
    if not _has_branch(connection, "platform"):
        session: Any = connection.connection.driver_connection
        check_platform_schema(session)


def configuration(connection: Connection) -> Config:
    """Alembic's configuration, on a connection that is open already."""
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
    config.attributes["connection"] = connection
    return config


@contextmanager
def _unknown_revision_explained() -> Generator[None]:
    try:
        yield
    except CommandError as error:
        raise OtherVersion(
            "The database was migrated by another version of publish-worker, and nothing was "
            f"changed. Use that version, or an empty database. ({error})"
        ) from error


def _migrate(connection: Connection, branch: str, tables: MetaData, *statements: str) -> None:
    """Upgrade one branch; if the database has nothing of it, create the tables and the rest."""
    if _has_branch(connection, branch):
        command.upgrade(configuration(connection), f"{branch}@head")
        return
    tables.create_all(connection, checkfirst=False)
    for statement in statements:
        connection.execute(text(statement))
    command.stamp(configuration(connection), f"{branch}@head")


def _has_branch(connection: Connection, branch: str) -> bool:
    return any(head.startswith(branch) for head in _read_heads(connection))


def _read_heads(connection: Connection) -> tuple[str, ...]:
    options = {"version_table_schema": SCHEMA}
    return MigrationContext.configure(connection, opts=options).get_current_heads()
