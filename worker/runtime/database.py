"""The database's engine as the settings describe it."""

from sqlalchemy import Engine

from db.session import connect
from worker.runtime.settings import Settings


def open_engine(settings: Settings, *, pool_size: int = 5) -> Engine:
    """Create an engine; no connection is opened yet. Raises SettingsError without DATABASE_URL."""
    return connect(
        settings.database(),
        platform_schema=settings.platform_schema,
        pool_size=pool_size,
        through_pooler=settings.database_through_pooler,
    )
