"""API keys: create, identify, list, revoke. Only the SHA-256 of a secret is stored."""

import secrets
from collections.abc import Iterable
from hashlib import sha256
from uuid import UUID

from pydantic import TypeAdapter, ValidationError
from sqlalchemy import Engine
from uuid_utils.compat import uuid7

from db import api_keys
from db.session import transaction
from schemas.fields import MAX_NAME, Name
from schemas.values.caller import ApiKey, Caller, Scope

PREFIX = "pw_"
"""Secret scanners recognise a leaked key by it."""


class KeyRefused(Exception):
    """No key was made; the text says why."""


class NoSuchWorkspace(KeyRefused):
    """There is no such workspace."""


def create_key(engine: Engine, *, name: str, scope: Scope, workspace_id: int | None) -> str:
    """Create a key for one workspace (None: all) and return its secret, which is not stored.

    Raises KeyRefused for a name that is empty, too long or not storable, and NoSuchWorkspace.
    """
    try:
        TypeAdapter(Name).validate_python(name)
    except ValidationError:
        text = f"The name of a key must be storable text of 1 to {MAX_NAME} characters."
        raise KeyRefused(text) from None
    secret = PREFIX + secrets.token_urlsafe(32)
    with transaction(engine) as tx:
        if workspace_id is not None and not api_keys.has_workspace(tx, workspace_id):
            raise NoSuchWorkspace(f"There is no workspace {workspace_id}.")
        api_keys.insert(
            tx,
            key_id=uuid7(),
            name=name,
            digest=to_digest(secret),
            scope=scope,
            workspace_id=workspace_id,
        )
    return secret


def identify(engine: Engine, secret: str) -> Caller | None:
    """Return the caller with this key. None: the key is unknown or revoked."""
    with transaction(engine) as tx:
        return api_keys.find(tx, to_digest(secret))


def find_valid(engine: Engine, ids: Iterable[UUID]) -> set[UUID]:
    """Return the keys among `ids` that are not revoked."""
    with transaction(engine) as tx:
        return api_keys.read_valid(tx, ids)


def list_keys(engine: Engine) -> list[ApiKey]:
    """Return all keys, the oldest first, without their secrets."""
    with transaction(engine) as tx:
        return api_keys.read_all(tx)


def revoke_key(engine: Engine, key_id: UUID) -> bool:
    """Revoke a key at once. False: unknown or already revoked."""
    with transaction(engine) as tx:
        return api_keys.revoke(tx, key_id)


def to_digest(secret: str) -> bytes:
    """Hash a secret. A plain hash suffices: the secret has 256 random bits."""
    return sha256(secret.encode(errors="surrogateescape")).digest()
