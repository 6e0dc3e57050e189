"""Rights: which of those that every deployment needs the role of this session lacks."""

from dataclasses import dataclass

from psycopg.types.json import Json

from db.session import Connection

_PLATFORM = (
    "workspace",
    "iam_user",
    "iam_user_detail",
    "template",
    "category",
    "subcategory",
    "tag",
    "video",
    "video_tag",
    "section",
    "video_engagement",
)
_READ = ("SELECT",)
_APPEND = ("SELECT", "INSERT")
_CHANGE = ("SELECT", "INSERT", "UPDATE")
_ALL = ("SELECT", "INSERT", "UPDATE", "DELETE")
OURS = {
    "alembic_version": _READ,
    "api_key": _READ,
    "audit_entry": _APPEND,
    "calendar_feed": _CHANGE,
    "command_attempt": ("SELECT", "INSERT", "DELETE"),
    "console_session": _ALL,
    "event_position": ("SELECT", "UPDATE"),
    "event_summary": _ALL,
    "idempotency_key": ("SELECT", "INSERT", "DELETE"),
    "open_command_count": _CHANGE,
    "outbox_event": ("SELECT", "INSERT", "DELETE"),
    "outlet": _CHANGE,
    "person": _CHANGE,
    "process": _ALL,
    "publish_command": _ALL,
    "quarantined_message": ("SELECT", "INSERT", "DELETE"),
    "sign_in_attempt": ("SELECT", "INSERT", "DELETE"),
    "sign_in_code": ("SELECT", "INSERT", "DELETE"),
    "video_generation": _CHANGE,
    "video_release": _CHANGE,
    "webhook_attempt": _APPEND,
    "webhook_delivery": _ALL,
    "webhook_endpoint": _ALL,
}
"""Every table: one that a migration has made is the one whose `GRANT` is forgotten."""
_NEEDED = [
    *({"relation": name, "privilege": "SELECT"} for name in _PLATFORM),
    {"relation": "video", "privilege": "UPDATE", "columns": ["is_draft", "updated_at"]},
    *(
        {"schema": "publisher", "relation": name, "privilege": privilege}
        for name, privileges in OURS.items()
        for privilege in privileges
    ),
]
"""What every deployment needs. Rights that only some commands need, as those on the columns of
edits, are missed by these commands alone (docs/adopting.md has all)."""

# Of these rights, those that the session's role lacks on the tables and views that there are. A
# right on any column of a table counts, unless columns are named.
MISSING = """
WITH needed AS (
    SELECT coalesce(each.schema,
                    btrim(split_part(current_setting('search_path'), ',', 1), ' "')) AS schema,
           relation, privilege, columns
    FROM json_to_recordset(%(needed)s::json)
         AS each (schema text, relation text, privilege text, columns text[])
), found AS (
    SELECT needed.*, class.oid AS class, has_schema_privilege(namespace.oid, 'USAGE') AS may_use
    FROM needed
    JOIN pg_namespace AS namespace ON nspname = schema
    JOIN pg_class AS class ON relnamespace = namespace.oid AND relname = relation
), rights AS (
    SELECT found.*, CASE
        WHEN columns IS NOT NULL THEN (
            SELECT bool_and(has_column_privilege(class, attnum, privilege)) FROM pg_attribute
            WHERE attrelid = class AND attname = ANY(columns)
        )
        WHEN privilege = 'DELETE' THEN has_table_privilege(class, privilege)
        ELSE has_any_column_privilege(class, privilege)
    END AS has_right
    FROM found
)
SELECT quote_ident(current_user), quote_ident(schema),
       concat(quote_ident(schema), '.', quote_ident(relation)), may_use,
       array_agg(privilege || coalesce(' (' || array_to_string(columns, ', ') || ')', '')
                 ORDER BY privilege) FILTER (WHERE NOT has_right)
FROM rights WHERE NOT (may_use AND has_right)
GROUP BY schema, relation, may_use ORDER BY schema DESC, relation
"""


@dataclass(frozen=True, slots=True)
class MissingRight:
    """A table or view that the role may not use as it needs to."""

    role: str
    schema: str
    relation: str
    """With its schema."""
    may_use_schema: bool
    privileges: list[str] | None
    """None: only the right on the schema is missing."""

    def to_grants(self) -> list[str]:
        """Return the statements that give the rights."""
        usage = f"GRANT USAGE ON SCHEMA {self.schema} TO {self.role};"
        rights = f"GRANT {', '.join(self.privileges or ())} ON {self.relation} TO {self.role};"
        return [*([] if self.may_use_schema else [usage]), *([rights] if self.privileges else [])]


def read_missing_rights(tx: Connection) -> list[MissingRight]:
    """Return the tables and views on which the session's role lacks a right that it needs."""
    return [MissingRight(*row) for row in tx.execute(MISSING, {"needed": Json(_NEEDED)})]
