"""The check of the database: schema, rights and migration, and the statements of a claim."""

from psycopg.errors import InsufficientPrivilege
from sqlalchemy import Engine

from db.commands import claim
from db.errors import DATABASE_ERRORS, is_away
from db.platform_schema import PlatformSchema, read_platform_schema
from db.revision import NEEDED, read_revision
from db.rights import MissingRight, read_missing_rights
from db.session import brief_transaction
from db.videos import facts_and_release
from publish_worker_client.servers.database_errors import describe_error
from worker.operations.checks import Check, to_failed
from worker.runtime.explanations import ADD_TO_PLATFORM, NEWER, explain_database

NAME = "database"


def check_database(engine: Engine) -> Check:
    """Check that the database answers, and has what a claim needs. Each fault has its remedy."""
    try:
        with brief_transaction(engine) as tx:
            schema, missing = read_platform_schema(tx), read_missing_rights(tx)
        return (
            _find_wrong_schema(schema)
            or _find_missing_rights(missing)
            or _check_claim(engine, schema)
        )
    except DATABASE_ERRORS as error:
        why = explain_database(error)
        return to_failed(NAME, why, describe_error(error), is_away=is_away(error))


def _find_wrong_schema(schema: PlatformSchema) -> Check | None:
    if not schema.fault:
        return None
    public = "PLATFORM_SCHEMA does not name the platform's schema."
    return Check(name=NAME, ok=False, detail=schema.fault, remedy=schema.remedy, public=public)


def _find_missing_rights(missing: list[MissingRight]) -> Check | None:
    if not missing:
        return None
    role = missing[0].role
    tables = ", ".join(each.relation.removeprefix("public.") for each in missing)
    word = "table" if len(missing) == 1 else "tables"
    grants = dict.fromkeys(grant for each in missing for grant in each.to_grants())
    return Check(
        name=NAME,
        ok=False,
        detail=f"{word} {tables}: permission denied for role {role}.",
        remedy=" ".join(grants),
        error=InsufficientPrivilege.__name__,
        public="The role of DATABASE_URL lacks a right.",
    )


def _check_claim(engine: Engine, schema: PlatformSchema) -> Check:
    if stale := _find_other_revision(read_revision(engine)):
        return stale
    if not schema.has_video:
        detail = f"The platform's table video is not in the schema {schema.name}, nor in another."
        return Check(name=NAME, ok=False, detail=detail, remedy=ADD_TO_PLATFORM)
    with brief_transaction(engine) as tx:
        claim.claim_due(tx, 0)  # takes nothing, and needs every right that a claim needs
        facts_and_release.read_facts(tx, [])
    return Check(name=NAME, ok=True, detail="Answers, and is migrated.")


def _find_other_revision(found: str | None) -> Check | None:
    if found == NEEDED:
        return None
    if found is not None and found > NEEDED:
        detail, _, remedy = NEWER.format(found=found, needed=NEEDED).partition(". ")
        return Check(name=NAME, ok=False, detail=f"{detail}.", remedy=remedy)
    at = f": it is at {found}, and {NEEDED} is needed" if found else ""
    remedy = "Run `publish-worker migrate`."
    return Check(name=NAME, ok=False, detail=f"Not migrated{at}.", remedy=remedy)
