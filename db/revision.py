"""The schema's revision: the one that this code needs, and whether the database has it.

Every process checks it as it starts, so this imports neither Alembic nor the tables.
"""

from psycopg.errors import UndefinedTable
from sqlalchemy import Engine, text
from sqlalchemy.exc import ProgrammingError

NEEDED = "publisher_0005"
"""The newest migration of our schema."""

HAS_REVISION = text("SELECT EXISTS (SELECT FROM publisher.alembic_version WHERE version_num = :it)")


def is_migrated(engine: Engine) -> bool:
    """Whether our schema is at the revision that this code needs."""
    try:
        with engine.connect() as connection:
            return bool(connection.scalar(HAS_REVISION, {"it": NEEDED}))
    except ProgrammingError as error:
        if isinstance(error.orig, UndefinedTable):
            return False
        raise
