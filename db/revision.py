"""The schema's revision: the one that this code needs, and whether the database has it.

The API, workers and the command line check it as they start, so this imports neither Alembic nor
the tables. Beat does not: it only wakes the others.
"""

from psycopg.errors import UndefinedTable
from sqlalchemy import Engine

from db.session import transaction

NEEDED = "publisher_0017"
"""The newest migration of our schema."""

# Whether the database is at a revision.
HAS_REVISION = "SELECT EXISTS (SELECT FROM publisher.alembic_version WHERE version_num = %(it)s)"


def is_migrated(engine: Engine) -> bool:
    """Whether our schema is at the revision that this code needs."""
    try:
        with transaction(engine) as tx:
            return tx.execute(HAS_REVISION, {"it": NEEDED}).fetchone() == (True,)
    except UndefinedTable:
        return False
