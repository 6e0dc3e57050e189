"""API keys: made, looked up, revoked. The secret is shown once and stored only as its SHA-256."""

import secrets
from collections.abc import Iterable
from hashlib import sha256
from uuid import UUID

from sqlalchemy import Engine
from uuid_utils.compat import uuid7

from db import api_keys
from db.session import transaction
from schemas.values.caller import ApiKey, Caller, Scope

PREFIX = "pw_"
"""So that a leaked key is recognised by those who look for leaks."""


class NoSuchWorkspace(Exception):
    """There is no such workspace."""


def create_key(engine: Engine, *, name: str, scope: Scope, workspace_id: int | None) -> str:
    """Make a key for one workspace (None: all) and return the secret, this once."""
    secret = PREFIX + secrets.token_urlsafe(32)
    with transaction(engine) as tx:
        if workspace_id is not None and not api_keys.workspace_exists(tx, workspace_id):
            raise NoSuchWorkspace(f"There is no workspace {workspace_id}.")
        api_keys.insert(
            tx,
            key_id=uuid7(),
            name=name,
            digest=_digest(secret),
            scope=scope,
            workspace_id=workspace_id,
        )
    return secret


def identify(engine: Engine, secret: str) -> Caller | None:
    """Return whose key this is; None if it is unknown or revoked."""
    with transaction(engine) as tx:
        return api_keys.find(tx, _digest(secret))


def still_valid(engine: Engine, ids: Iterable[UUID]) -> set[UUID]:
    """Tell which of these keys have not been revoked since they were looked up."""
    with transaction(engine) as tx:
        return api_keys.valid(tx, ids)


def list_keys(engine: Engine) -> list[ApiKey]:
    """All keys, oldest first, without their secrets."""
    with transaction(engine) as tx:
        return api_keys.everything(tx)


def revoke_key(engine: Engine, key_id: UUID) -> bool:
    """Revoke a key at once; False if there is no such key, or it was revoked before."""
    with transaction(engine) as tx:
        return api_keys.revoke(tx, key_id)


def _digest(secret: str) -> bytes:
    """A plain hash is enough: the secret has 256 random bits, so there is nothing to guess."""
    return sha256(secret.encode(errors="surrogateescape")).digest()
