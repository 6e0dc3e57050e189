"""The schema's revision: the one that this code needs, and whether the database has it.

The API, workers and the command line check it as they start, so this imports neither Alembic nor
the tables. Beat does not: it only wakes the others.
"""

from psycopg.errors import UndefinedTable
from sqlalchemy import Engine

from db.session import transaction

NEEDED = "publisher_0021"
"""The newest migration of our schema."""

# The revision of our schema; the platform's has a row of its own.
READ = "SELECT max(version_num) FROM publisher.alembic_version WHERE version_num LIKE 'publisher%%'"


def read_revision(engine: Engine) -> str | None:
    """Return the revision of our schema; None: it was never migrated. Later ones sort later."""
    try:
        with transaction(engine) as tx:
            row = tx.execute(READ, ()).fetchone()
    except UndefinedTable:
        return None
    return row[0] if row else None


def is_migrated(engine: Engine) -> bool:
    """Whether our schema is at the revision that this code needs."""
    return read_revision(engine) == NEEDED
