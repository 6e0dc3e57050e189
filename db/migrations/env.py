"""Run by Alembic: one connection, handed over by db.migrate, and our version table."""

from alembic import context

from db.tables.platform import Platform
from db.tables.publisher import SCHEMA, Publisher

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=[Platform.metadata, Publisher.metadata],
    version_table_schema=SCHEMA,
    include_schemas=True,
)
context.run_migrations()
