"""The platform's schema: whether `PLATFORM_SCHEMA` names the one that has the table `video`."""

from dataclasses import dataclass

from db.errors import WrongPlatformSchema
from db.session import Connection

# The first schema of the search path, the platform's: whether it exists and has a table or view
# `video`, and which other schemas have one like ours. Needs no right on any of them.
READ = """
WITH named AS (
    SELECT btrim(split_part(current_setting('search_path'), ',', 1), ' "') AS name
), videos AS (
    SELECT relation.oid, nspname::text AS schema
    FROM pg_class AS relation JOIN pg_namespace AS namespace ON namespace.oid = relnamespace
    WHERE relname = 'video' AND relkind IN ('r', 'p', 'v', 'm', 'f') AND nspname !~ '^pg_'
)
SELECT name,
       EXISTS (SELECT FROM pg_namespace WHERE nspname = name),
       EXISTS (SELECT FROM videos WHERE schema = name),
       array(
           SELECT schema FROM videos WHERE schema <> name AND 2 = (
               SELECT count(*) FROM pg_attribute
               WHERE attrelid = videos.oid AND attname IN ('is_draft', 'internal_status')
           )
           ORDER BY schema
       )
FROM named
"""


@dataclass(frozen=True, slots=True)
class PlatformSchema:
    """What there is of the schema that `PLATFORM_SCHEMA` names."""

    name: str
    exists: bool
    has_video: bool
    others: list[str]
    """Other schemas that have a table or view `video` with our columns."""

    @property
    def fault(self) -> str | None:
        """The sentence that says why the name is wrong; None: it may be right."""
        have = f"the schema {self.others[0]} has one" if self.others else ""
        if len(self.others) > 1:
            have = f"the schemas {', '.join(self.others)} have one"
        if not self.exists:
            there = f"PLATFORM_SCHEMA={self.name}: there is no schema of this name"
            return f"{there}, and thus no table video; {have}." if have else f"{there}."
        if not self.has_video and have:
            return f"PLATFORM_SCHEMA={self.name} has no table video; {have}."
        return None

    @property
    def remedy(self) -> str:
        """What to do about the fault."""
        if self.others:
            return f"Set PLATFORM_SCHEMA={self.others[0]} for every process."
        return (
            "Correct PLATFORM_SCHEMA, or create the schema with the platform's tables or views "
            "(docs/adopting.md)."
        )


def read_platform_schema(tx: Connection) -> PlatformSchema:
    """Read what there is of the platform's schema."""
    [row] = tx.execute(READ).fetchall()
    return PlatformSchema(*row)


def check_platform_schema(tx: Connection) -> None:
    """Raise WrongPlatformSchema if `PLATFORM_SCHEMA` does not name the platform's schema.

    A platform whose tables are made later is not an error.
    """
    schema = read_platform_schema(tx)
    if schema.fault:
        raise WrongPlatformSchema(f"{schema.fault} {schema.remedy}")
