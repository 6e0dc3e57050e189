"""People of the identity provider at the console: begin a sign-in, and their sessions.

While a person is at the provider, the browser has a random token of 256 bits in a cookie, and the
database its SHA-256. What the protocol needs is derived from the token: who sees one of these
values on its way, in a URL or at the provider, cannot compute another one.
"""

import hmac
import secrets
from collections.abc import Collection
from dataclasses import dataclass, replace
from datetime import timedelta
from hashlib import sha256
from uuid import UUID

import structlog
from sqlalchemy import Engine

from db import audit_log, console_sessions, people
from db.session import transaction
from schemas.audit import ActorKind, AuditAction, AuditOutcome, Door
from schemas.values.access import AccessPolicy, AccessRule
from schemas.values.actor import Actor, AuditRecord
from worker.operations.api_keys import to_digest
from worker.operations.audit import MAX_CLIENT
from worker.operations.console_sessions import (
    NewSession,
    SignInRefused,
    to_session_record,
    to_values,
)
from worker.rules.access import find_known_groups, find_rule

ATTEMPT_AGE = timedelta(minutes=10)
"""How long a person may take at the provider."""
NO_ACCESS = (
    "The identity provider knows you, but none of your groups may use this console. Ask those who"
    " run it for access, or sign in with an API key."
)

log: structlog.stdlib.BoundLogger = structlog.stdlib.get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class ProviderIdentity:
    """Who has signed in at the provider, from its verified answer."""

    issuer: str
    subject: str
    name: str
    groups: Collection[str]
    session: str | None = None
    """The provider's id of its own session, if it gives one: a log-out may name it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SignInAttempt:
    """A sign-in that is under way."""

    token: str
    """For the cookie; it is not stored."""

    @property
    def state(self) -> str:
        """Comes back in the callback's URL: it was begun in this browser."""
        return self._derive(b"state")

    @property
    def nonce(self) -> str:
        """Comes back in the ID token: the token was issued for this sign-in."""
        return self._derive(b"nonce")

    @property
    def code_verifier(self) -> str:
        """Redeems the code (RFC 7636). The provider gets its SHA-256 first."""
        return self._derive(b"verifier")

    def has_state(self, given: str) -> bool:
        """Whether a callback belongs to this sign-in; compared in constant time."""
        return hmac.compare_digest(self.state.encode(), given.encode(errors="replace"))

    def _derive(self, purpose: bytes) -> str:
        key = self.token.encode(errors="surrogateescape")
        return hmac.new(key, b"sign-in " + purpose, sha256).hexdigest()


def make_attempt() -> SignInAttempt:
    """Return a new sign-in; `begin_attempt` stores it."""
    return SignInAttempt(token=secrets.token_urlsafe(32))


def begin_attempt(engine: Engine, attempt: SignInAttempt, after: str) -> None:
    """Store a sign-in that leads to the page `after`."""
    with transaction(engine) as tx:
        people.begin_attempt(tx, to_digest(attempt.token), after=after, age=ATTEMPT_AGE)


def redeem_attempt(engine: Engine, attempt: SignInAttempt) -> str | None:
    """Use up a sign-in; return the page that was asked for. None: unknown, used or expired."""
    with transaction(engine) as tx:
        return people.redeem_attempt(tx, to_digest(attempt.token))


def create_persons_session(
    engine: Engine,
    identity: ProviderIdentity,
    policy: AccessPolicy,
    *,
    user_agent: str | None,
    client: str | None,
    correlation_id: str,
) -> NewSession:
    """Begin a session of a person. Raises SignInRefused if no rule names one of its groups."""
    rule = find_rule(policy.rules, identity.groups)
    token = secrets.token_urlsafe(32)
    values = to_values(token, user_agent)
    with transaction(engine) as tx:
        person = people.note(
            tx, issuer=identity.issuer, subject=identity.subject, name=identity.name
        )
        actor = Actor(
            kind=ActorKind.PERSON,
            door=Door.CONSOLE,
            person_id=person.id,
            name=person.name,
            client=client and client[:MAX_CLIENT],
            correlation_id=correlation_id,
        )
        if rule is not None:
            groups = find_known_groups(policy.rules, identity.groups)
            values |= {"person_id": person.id, "groups": groups}
            values["provider_session"] = identity.session
            expires_at = console_sessions.insert_persons(tx, **values)
            audit_log.append(tx, [_to_record(actor, rule, values["id"])])
            return NewSession(token=token, expires_at=expires_at)
        audit_log.append(tx, [_to_record(actor)])
    log.warning("session.refused", client=client, person_id=str(person.id))
    raise SignInRefused(NO_ACCESS)


def _to_record(
    actor: Actor, rule: AccessRule | None = None, session_id: UUID | None = None
) -> AuditRecord:
    """Return the entry for a sign-in: refused without a rule."""
    workspace_id = rule and rule.workspace_id
    record = to_session_record(actor, AuditAction.SESSION_SIGN_IN, session_id, workspace_id)
    record = replace(record, details={"with": "identity provider"})
    return record if rule else record.with_outcome(AuditOutcome.REFUSED, "no-access")
