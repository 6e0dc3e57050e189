"""Console sessions of others: list them, and end them, for operators and the identity provider."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from uuid import UUID

from sqlalchemy import Engine

from db import audit_log, console_sessions
from db.console_sessions import OpenSession, StoredSession
from db.session import transaction
from schemas.audit import AuditAction, Door
from schemas.values.access import AccessPolicy
from schemas.values.actor import Actor, AuditRecord
from worker.operations.audit import to_actor
from worker.operations.console_sessions import IDLE, to_caller, to_session_record

LIMIT = 1_000
"""Sessions that are listed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ProviderLogout:
    """What has ended at the identity provider, from its verified logout token."""

    issuer: str
    subject: str | None
    """None: `session` alone says which."""
    session: str | None
    """The provider's id of its session. None: all sessions of the person."""


def list_sessions(engine: Engine) -> list[OpenSession]:
    """Return the sessions that have not ended, the last used first; 1,000 at most."""
    with transaction(engine) as tx:
        return console_sessions.read_all(tx, idle=IDLE, limit=LIMIT)


def end_sessions(engine: Engine, found_id: UUID, by: Actor, policy: AccessPolicy) -> int:
    """End the session with this id, or all of the person or the API key with it.

    Returns their number. A key stays valid, and may begin another session.
    """
    with transaction(engine) as tx:
        ended = console_sessions.delete_by_id(tx, found_id)
        audit_log.append(tx, [_to_record(by, each, policy) for each in ended])
    return len(ended)


def end_at_provider(
    engine: Engine,
    logout: ProviderLogout,
    policy: AccessPolicy,
    *,
    client: str | None,
    correlation_id: str,
) -> int:
    """End the sessions of a person who has logged out at the provider; return their number."""
    with transaction(engine) as tx:
        ended = console_sessions.delete_at_provider(
            tx, issuer=logout.issuer, subject=logout.subject, provider_session=logout.session
        )
        records = _to_sign_outs(ended, policy, client, correlation_id)
        audit_log.append(tx, records)
    return len(ended)


def _to_record(by: Actor, session: StoredSession, policy: AccessPolicy) -> AuditRecord:
    caller = to_caller(session, policy)
    workspace_id = caller and caller.workspace_id
    record = to_session_record(by, AuditAction.SESSION_END, session.id, workspace_id)
    owner = "key_id" if session.key_id else "person_id"
    return replace(record, details={owner: str(session.key_id or session.person_id)})


def _to_sign_outs(
    ended: Sequence[StoredSession], policy: AccessPolicy, client: str | None, correlation_id: str
) -> list[AuditRecord]:
    """Return the entries; a person whose rule was taken away has none, as with a log-out."""
    allowed = [(each, to_caller(each, policy)) for each in ended]
    return [
        replace(
            to_session_record(
                to_actor(caller, Door.CONSOLE, client=client, correlation_id=correlation_id),
                AuditAction.SESSION_SIGN_OUT,
                each.id,
                caller.workspace_id,
            ),
            details={"at": "identity provider"},
        )
        for each, caller in allowed
        if caller is not None
    ]
