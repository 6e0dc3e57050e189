"""Rename the trigger on videos after the function that it calls."""

from alembic import op

revision = "platform_0003"
down_revision = "platform_0002"

# The tables with such a trigger, in any schema, and whether it is disabled.
FIND = """
SELECT tgrelid::regclass::text, tgenabled = 'D' FROM pg_trigger
WHERE tgname = '{name}' AND NOT tgisinternal
"""


def upgrade() -> None:
    _rename("publisher_video_turned", "publisher_video_changed")


def downgrade() -> None:
    _rename("publisher_video_changed", "publisher_video_turned")


def _rename(old: str, new: str) -> None:
    """Rename the trigger; one that was dropped stays away, and of two an enabled one is kept."""
    there = _find(new)
    for table, is_disabled in _find(old).items():
        if there.get(table) is False or (is_disabled and table in there):
            op.execute(f"DROP TRIGGER {old} ON {table}")
            continue
        if table in there:
            op.execute(f"DROP TRIGGER {new} ON {table}")
        op.execute(f"ALTER TRIGGER {old} ON {table} RENAME TO {new}")


def _find(name: str) -> dict[str, bool]:
    rows = op.get_bind().exec_driver_sql(FIND.format(name=name))
    return {row[0]: row[1] for row in rows}
