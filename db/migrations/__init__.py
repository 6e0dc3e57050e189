"""Alembic's scripts in two branches: `publisher` is ours, `platform` for those without one."""
