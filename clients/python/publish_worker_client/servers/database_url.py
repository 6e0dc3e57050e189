"""URLs of PostgreSQL, as libpq reads them; the driver's name that SQLAlchemy adds is dropped."""

from typing import Any

from psycopg.conninfo import conninfo_to_dict


def read_url(database_url: str) -> dict[str, Any]:
    """Return libpq's parameters. Raises psycopg.ProgrammingError if the URL is not valid."""
    scheme, separator, rest = database_url.partition("://")
    return conninfo_to_dict(scheme.partition("+")[0] + separator + rest)
