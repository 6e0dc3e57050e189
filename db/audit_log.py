"""The audit log in SQL: append entries, list them, prune them by age.

`db/tables/triggers.py` keeps the table append-only.
"""

import json
import re
from collections.abc import Sequence
from datetime import timedelta

from psycopg.rows import class_row
from psycopg.types.json import Jsonb
from uuid_utils.compat import uuid7

from db.session import Connection
from schemas.audit import AuditEntry, AuditFilter
from schemas.values.actor import AuditRecord
from schemas.values.page import Page, to_page

# Append entries. The name of an API key is the one that it has now.
INSERT = """
INSERT INTO publisher.audit_entry
    (id, actor, key_id, person_id, actor_name, door, client, correlation_id, action, subject,
     subject_id, workspace_id, outcome, problem, details)
SELECT e.id, e.actor, e.key_id, e.person_id, coalesce(k.name, e.actor_name), e.door, e.client,
       e.correlation_id, e.action, e.subject, e.subject_id, e.workspace_id, e.outcome, e.problem,
       e.details
FROM jsonb_to_recordset(%(entries)s) AS e (
    id uuid, actor text, key_id uuid, person_id uuid, actor_name text, door text, client text,
    correlation_id text, action text, subject text, subject_id text, workspace_id bigint,
    outcome text, problem text, details jsonb
)
LEFT JOIN publisher.api_key k ON k.id = e.key_id
"""

# A page of entries, the newest first, before a given one.
LIST = """
SELECT id, at, actor, key_id, person_id, actor_name, door, client, correlation_id, action, subject,
       subject_id, workspace_id, outcome, problem, details
FROM publisher.audit_entry
WHERE (%(workspace_id)s::bigint IS NULL OR workspace_id = %(workspace_id)s)
  AND (%(actor)s::text IS NULL OR actor = %(actor)s)
  AND (%(key_id)s::uuid IS NULL OR key_id = %(key_id)s)
  AND (%(person_id)s::uuid IS NULL OR person_id = %(person_id)s)
  AND (%(action)s::text IS NULL OR action = %(action)s)
  AND (%(subject)s::text IS NULL OR subject = %(subject)s)
  AND (%(subject_id)s::text IS NULL OR subject_id = %(subject_id)s)
  AND (%(outcome)s::text IS NULL OR outcome = %(outcome)s)
  AND (%(since)s::timestamptz IS NULL OR at >= %(since)s)
  AND (%(until)s::timestamptz IS NULL OR at < %(until)s)
  AND (%(before)s::uuid IS NULL OR id < %(before)s)
ORDER BY id DESC
LIMIT %(limit)s
"""

# Delete entries older than the age, a limited number at a time, with the rights of the table's
# owner: the worker's role may not delete any other entry.
PRUNE = "SELECT publisher.prune_audit_log(%(age)s, %(limit)s)"

_NUL = re.compile(r"(?<!\\)((?:\\\\)*)\\u0000")
"""NUL in JSON, after an even number of backslashes."""


def append(tx: Connection, records: Sequence[AuditRecord]) -> None:
    """Append entries in one statement; none sends nothing."""
    if records:
        tx.execute(INSERT, {"entries": Jsonb([_to_row(each) for each in records], _to_text)})


def read_page(tx: Connection, wanted: AuditFilter, *, workspace_id: int | None) -> Page[AuditEntry]:
    """Read a page of entries, the newest first, of one workspace (None: all)."""
    values = wanted.model_dump() | {"workspace_id": workspace_id, "limit": wanted.limit + 1}
    with tx.cursor(row_factory=class_row(AuditEntry)) as cursor:
        return to_page(cursor.execute(LIST, values).fetchall(), wanted.limit)


def prune(tx: Connection, *, age: timedelta, limit: int) -> int:
    """Delete up to `limit` entries that are older than `age`, and than 30 days."""
    row = tx.execute(PRUNE, {"age": age, "limit": limit}).fetchone()
    return row[0] if row else 0


def _to_row(record: AuditRecord) -> dict[str, object]:
    actor = record.actor
    return {
        "id": str(uuid7()),
        "actor": actor.kind,
        "key_id": actor.key_id and str(actor.key_id),
        "person_id": actor.person_id and str(actor.person_id),
        "actor_name": actor.name,
        "door": actor.door,
        "client": actor.client,
        "correlation_id": actor.correlation_id,
        "action": record.action,
        "subject": record.subject,
        "subject_id": None if record.subject_id is None else str(record.subject_id),
        "workspace_id": record.workspace_id,
        "outcome": record.outcome,
        "problem": record.problem,
        "details": record.details,
    }


def _to_text(rows: object) -> str:
    """Return JSON that JSONB can store: without NUL and lone surrogates, which others may send."""
    text = json.dumps(rows, ensure_ascii=False).encode(errors="replace").decode()
    return _NUL.sub(r"\1\\ufffd", text)
