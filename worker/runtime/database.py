"""The database's engine as the settings describe it."""

from sqlalchemy import Engine

from db.session import STATEMENT_SECONDS, connect
from worker.runtime.settings import Settings


def open_engine(
    settings: Settings,
    *,
    pool_size: int = 5,
    overflow: int = 10,
    statement_seconds: float = STATEMENT_SECONDS,
) -> Engine:
    """Create an engine; no connection is opened yet. Raises SettingsError without DATABASE_URL."""
    return connect(
        settings.database(),
        platform_schema=settings.platform_schema,
        pool_size=pool_size,
        overflow=overflow,
        through_pooler=settings.database_through_pooler,
        statement_seconds=statement_seconds,
    )
