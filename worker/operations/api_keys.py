"""API keys: create, identify, list, revoke. Only the SHA-256 of a secret is stored."""

import secrets
from collections.abc import Generator, Iterable
from contextlib import contextmanager
from hashlib import sha256
from uuid import UUID

from psycopg.errors import InsufficientPrivilege
from pydantic import TypeAdapter, ValidationError
from sqlalchemy import Engine
from uuid_utils.compat import uuid7

from db import api_keys, audit_log
from db.session import Connection, transaction
from schemas.audit import AuditAction, AuditSubject
from schemas.fields import MAX_NAME, Name
from schemas.values.actor import SYSTEM, Actor, AuditRecord
from schemas.values.caller import ApiKey, Caller, Scope
from worker.runtime.refused import Refused

PREFIX = "pw_"
"""Secret scanners recognise a leaked key by it."""


class KeyRefused(Refused):
    """No key was made or revoked; the text says why."""


class NoSuchWorkspace(KeyRefused):
    """There is no such workspace."""


class NoSuchKey(KeyRefused):
    """There is no such key, or it was revoked before."""


class KeyRightsMissing(KeyRefused):
    """The database role of this process may not create or revoke keys."""

    def __init__(self, role: str) -> None:
        super().__init__(
            f"The database role {role} may not create or revoke API keys; nothing was changed. Use"
            " `publish-worker keys` with the DATABASE_URL of the role that owns the schema"
            " `publisher`. Or, so that the console can do it, run as that role: GRANT INSERT,"
            f' UPDATE (revoked_at) ON publisher.api_key TO "{role}"; (see docs/adopting.md).'
        )


def create_key(
    engine: Engine,
    *,
    name: str,
    scope: Scope,
    workspace_id: int | None,
    by: Actor = SYSTEM,
) -> str:
    """Create a key for one workspace (None: all) and return its secret, which is not stored.

    Raises KeyRefused for a name that is empty, too long or not storable, NoSuchWorkspace, and
    KeyRightsMissing.
    """
    try:
        TypeAdapter(Name).validate_python(name)
    except ValidationError:
        text = f"The name of a key must be storable text of 1 to {MAX_NAME} characters."
        raise KeyRefused(text) from None
    key_id, secret = uuid7(), PREFIX + secrets.token_urlsafe(32)
    with _missing_rights_explained(engine), transaction(engine) as tx:
        if workspace_id is not None and not api_keys.has_workspace(tx, workspace_id):
            raise NoSuchWorkspace(f"There is no workspace {workspace_id}.")
        api_keys.insert(
            tx,
            key_id=key_id,
            name=name,
            digest=to_digest(secret),
            scope=scope,
            workspace_id=workspace_id,
        )
        details = {"name": name, "scope": scope.value}
        _audit(tx, AuditAction.API_KEY_CREATE, key_id, workspace_id, by, details)
    return secret


def create_key_for(
    engine: Engine, caller: Caller, *, name: str, scope: Scope, workspace_id: int | None, by: Actor
) -> str:
    """Create a key as `create_key` does, within what the caller's own key may see and do.

    Raises KeyRefused for a higher scope, and for another workspace, or every one, if the caller is
    confined to one.
    """
    if not caller.scope.includes(scope):
        raise KeyRefused(f"A key of scope '{caller.scope}' cannot create one of scope '{scope}'.")
    if caller.workspace_id not in (None, workspace_id):
        raise KeyRefused(f"Your key can create keys of workspace {caller.workspace_id} only.")
    return create_key(engine, name=name, scope=scope, workspace_id=workspace_id, by=by)


def identify(engine: Engine, secret: str) -> Caller | None:
    """Return the caller with this key. None: the key is unknown or revoked."""
    with transaction(engine) as tx:
        return api_keys.find(tx, to_digest(secret))


def find_valid(engine: Engine, ids: Iterable[UUID]) -> set[UUID]:
    """Return the callers among `ids` that are valid: keys, and people who are signed in."""
    with transaction(engine) as tx:
        return api_keys.read_valid(tx, ids)


def read_key(engine: Engine, key_id: UUID) -> ApiKey:
    """Return a key without its secret. Raises NoSuchKey."""
    with transaction(engine) as tx:
        found = api_keys.read(tx, key_id)
    if found is None:
        raise NoSuchKey(f"There is no key {key_id}.")
    return found


def read_key_of(engine: Engine, secret: str) -> ApiKey:
    """Return the valid key with this secret. Raises NoSuchKey."""
    caller = identify(engine, secret)
    if caller is None:
        raise NoSuchKey("The key was revoked.")
    return read_key(engine, caller.id)


def list_keys(engine: Engine, workspace_id: int | None = None) -> list[ApiKey]:
    """Return the keys of a workspace (None: all), the oldest first, without their secrets."""
    with transaction(engine) as tx:
        return api_keys.read_all(tx, workspace_id)


def revoke_key(
    engine: Engine, key_id: UUID, by: Actor = SYSTEM, *, within: int | None = None
) -> bool:
    """Revoke a key at once. False: unknown or already revoked. Raises KeyRightsMissing.

    `within` is the workspace that the caller's key is confined to (None: every workspace); keys of
    others do not exist for it. Console sessions of the key end with it.
    """
    with _missing_rights_explained(engine), transaction(engine) as tx:
        revoked = api_keys.revoke(tx, key_id, within)
        if revoked is None:
            return False
        name, scope, workspace_id = revoked
        details = {"name": name, "scope": scope}
        _audit(tx, AuditAction.API_KEY_REVOKE, key_id, workspace_id, by, details)
    return True


def to_digest(secret: str) -> bytes:
    """Hash a secret. A plain hash suffices: the secret has 256 random bits."""
    return sha256(secret.encode(errors="surrogateescape")).digest()


def _audit(
    tx: Connection,
    action: AuditAction,
    key_id: UUID,
    workspace_id: int | None,
    by: Actor,
    details: dict[str, str],
) -> None:
    record = AuditRecord(
        actor=by,
        action=action,
        subject=AuditSubject.API_KEY,
        subject_id=key_id,
        workspace_id=workspace_id,
        details=details,
    )
    audit_log.append(tx, [record])


@contextmanager
def _missing_rights_explained(engine: Engine) -> Generator[None]:
    """Raise KeyRightsMissing in place of the database's error."""
    try:
        yield
    except InsufficientPrivilege as error:
        if "api_key" not in str(error):
            raise
        with transaction(engine) as tx:
            role = api_keys.read_role(tx)
        raise KeyRightsMissing(role) from error
