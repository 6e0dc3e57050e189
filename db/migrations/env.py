"""Run by Alembic: one connection, handed over by db.migrate, and our version table."""

from alembic import context

from db.tables.publisher import SCHEMA

context.configure(connection=context.config.attributes["connection"], version_table_schema=SCHEMA)
context.run_migrations()
