"""Console sessions: begin one with an API key or a code that works once, find it, end it.

A session has a random token of 256 bits, of which the database stores the SHA-256: a look-up
compares digests, so its time says nothing about the token. A session sees what its key sees, and
ends with it. Sessions of people begin in `worker/operations/people.py`; what they see is decided at
each request, by the rules of that moment.
"""

import hmac
import secrets
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from hashlib import sha256
from typing import Any
from uuid import UUID

import structlog
from sqlalchemy import Engine
from uuid_utils.compat import uuid7

from db import api_keys, audit_log, console_sessions
from db.session import Connection, transaction
from schemas.audit import AuditAction, AuditOutcome, AuditSubject, Door
from schemas.values.access import ONLY_KEYS, AccessPolicy
from schemas.values.actor import Actor, AuditRecord
from schemas.values.caller import Caller, KnownPerson, Scope
from worker.operations.api_keys import to_digest
from worker.operations.audit import to_actor
from worker.rules.access import find_access

AGE = timedelta(hours=12)
"""How long a session lasts at most."""
IDLE = timedelta(hours=1)
"""How long it lasts without a request."""
CODE_AGE = timedelta(minutes=15)
MAX_USER_AGENT = 200
"""Characters that are stored."""

log: structlog.stdlib.BoundLogger = structlog.stdlib.get_logger(__name__)


class SignInRefused(Exception):
    """No session began; the text says why."""


@dataclass(frozen=True, kw_only=True)
class NewSession:
    """A session that has just begun."""

    token: str
    """For the cookie; it is not stored."""
    expires_at: datetime


@dataclass(frozen=True, kw_only=True)
class ConsoleSession:
    """A valid session."""

    id: UUID
    caller: Caller
    name: str
    """Of the key or the person, for people."""
    csrf_token: str
    """Each change must carry it. It is derived from the token, which pages do not see."""
    created_at: datetime
    expires_at: datetime

    def to_actor(self, *, client: str | None, correlation_id: str) -> Actor:
        """Return who asks for a change at the console."""
        return to_actor(self.caller, Door.CONSOLE, client=client, correlation_id=correlation_id)

    def has_csrf_token(self, given: str) -> bool:
        """Whether a form has this session's token; compared in constant time."""
        return hmac.compare_digest(self.csrf_token.encode(), given.encode(errors="replace"))


def create_session(
    engine: Engine,
    secret: str,
    *,
    user_agent: str | None,
    client: str | None,
    correlation_id: str,
) -> NewSession:
    """Begin a session with an API key of scope `read` or above. Raises SignInRefused."""
    token = secrets.token_urlsafe(32)
    values = to_values(token, user_agent) | {"key_digest": to_digest(secret)}
    with transaction(engine) as tx:
        begun = console_sessions.insert(tx, **values)
        caller = api_keys.find(tx, to_digest(secret))
        if caller is not None:
            actor = to_actor(caller, Door.CONSOLE, client=client, correlation_id=correlation_id)
            _audit_sign_in(tx, actor, begun, caller.workspace_id, "key")
    if begun is None:
        log.warning("session.refused", client=client, key_id=caller and str(caller.key_id))
        raise SignInRefused(_explain(caller))
    return NewSession(token=token, expires_at=begun[2])


def create_sign_in_code(engine: Engine, secret: str, age: timedelta = CODE_AGE) -> str:
    """Return a code that begins a session of this API key once, for a link. Raises SignInRefused.

    The link needs no API key in it: what remains of it in a browser's history is of no use.
    """
    code = secrets.token_urlsafe(32)
    with transaction(engine) as tx:
        if not console_sessions.insert_code(
            tx, digest=to_digest(code), key_digest=to_digest(secret), age=age
        ):
            raise SignInRefused(_explain(api_keys.find(tx, to_digest(secret))))
    return code


def redeem_sign_in_code(
    engine: Engine,
    code: str,
    *,
    user_agent: str | None,
    client: str | None,
    correlation_id: str,
) -> NewSession:
    """Use up a code, and begin a session of its key. Of two redemptions, one succeeds.

    Raises SignInRefused for a code that is unknown, used or expired, or whose key was revoked.
    """
    token = secrets.token_urlsafe(32)
    values = to_values(token, user_agent) | {"code_digest": to_digest(code)}
    with transaction(engine) as tx:
        begun = console_sessions.redeem(tx, **values)
        stored = console_sessions.find(tx, to_digest(token), idle=IDLE) if begun else None
        caller = stored and to_caller(stored)
        if caller:
            actor = to_actor(caller, Door.CONSOLE, client=client, correlation_id=correlation_id)
            _audit_sign_in(tx, actor, begun, caller.workspace_id, "code")
    if begun is None:
        log.warning("session.refused", client=client)
        raise SignInRefused(
            "This link was used already, or has expired. Sign in with an API key, or ask for"
            " another link."
        )
    return NewSession(token=token, expires_at=begun[2])


def find_session(
    tx: Connection, token: str, policy: AccessPolicy = ONLY_KEYS
) -> ConsoleSession | None:
    """Return the session with this token.

    None: unknown, ended, expired, or not allowed any more: its key is revoked, or no rule of
    `policy` names a group of its person.
    """
    stored = console_sessions.find(tx, to_digest(token), idle=IDLE)
    caller = stored and to_caller(stored, policy)
    if stored is None or caller is None:
        return None
    return ConsoleSession(
        id=stored.id,
        caller=caller,
        name=stored.name,
        csrf_token=derive_csrf_token(token),
        created_at=stored.created_at,
        expires_at=stored.expires_at,
    )


def find_open(engine: Engine, digests: Iterable[bytes]) -> set[bytes]:
    """Return which of these sessions have not ended. This is not a use of them."""
    with transaction(engine) as tx:
        return console_sessions.read_open(tx, digests, idle=IDLE)


def end_session(
    engine: Engine,
    token: str,
    *,
    client: str | None = None,
    correlation_id: str = "",
    policy: AccessPolicy = ONLY_KEYS,
) -> bool:
    """End a session. False: there is none."""
    with transaction(engine) as tx:
        ended = console_sessions.delete(tx, to_digest(token))
        if ended is None:
            return False
        caller = to_caller(ended, policy)
        if caller is not None:
            actor = to_actor(caller, Door.CONSOLE, client=client, correlation_id=correlation_id)
            action, workspace_id = AuditAction.SESSION_SIGN_OUT, caller.workspace_id
            audit_log.append(tx, [to_session_record(actor, action, ended.id, workspace_id)])
    return True


def derive_csrf_token(token: str) -> str:
    """Return the CSRF token of a session: who knows it cannot compute the session's token."""
    return hmac.new(token.encode(errors="surrogateescape"), b"csrf", sha256).hexdigest()


def to_values(token: str, user_agent: str | None) -> dict[str, Any]:
    """Return what every new session stores."""
    shown = user_agent and user_agent.replace("\x00", "")[:MAX_USER_AGENT]
    return {"digest": to_digest(token), "id": uuid7(), "age": AGE, "user_agent": shown}


def to_caller(
    stored: console_sessions.StoredSession, policy: AccessPolicy = ONLY_KEYS
) -> Caller | None:
    """Return what a session is allowed now. None: a person whose rule was taken away."""
    if stored.scope is not None:
        scope = Scope(stored.scope)
        return Caller(key_id=stored.key_id, scope=scope, workspace_id=stored.workspace_id)
    rule = find_access(policy, stored.issuer, stored.groups or ())
    if rule is None or stored.person_id is None:
        return None
    person = KnownPerson(id=stored.person_id, name=stored.name)
    return Caller(person=person, scope=rule.scope, workspace_id=rule.workspace_id)


def to_session_record(
    actor: Actor, action: AuditAction, session_id: UUID | None, workspace_id: int | None
) -> AuditRecord:
    """Return the entry of the audit log for the begin or the end of a session."""
    return AuditRecord(
        actor=actor,
        action=action,
        subject=AuditSubject.SESSION,
        subject_id=session_id,
        workspace_id=workspace_id,
    )


def _audit_sign_in(
    tx: Connection, actor: Actor, begun: Sequence[Any] | None, workspace_id: int | None, by: str
) -> None:
    """Record a sign-in, or that a key was refused; an unknown key is not anyone's."""
    session_id = begun[0] if begun else None
    record = to_session_record(actor, AuditAction.SESSION_SIGN_IN, session_id, workspace_id)
    record = replace(record, details={"with": by})
    if begun is None:
        record = record.with_outcome(AuditOutcome.REFUSED, "scope-too-low")
    audit_log.append(tx, [record])


def _explain(caller: Caller | None) -> str:
    if caller is None:
        return "This is not a valid API key: it is unknown, or was revoked."
    return (
        f"The scope of this key is '{caller.scope}'; the console needs 'read' or above. Create one"
        " with `publish-worker keys create`."
    )
