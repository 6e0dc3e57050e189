"""Who asks for a change, and what the audit log records about it."""

from dataclasses import dataclass, field, replace
from typing import Any
from uuid import UUID

from schemas.audit import ActorKind, AuditAction, AuditOutcome, AuditSubject, Door


@dataclass(frozen=True, slots=True, kw_only=True)
class Actor:
    """Who asks for a change, and from where."""

    kind: ActorKind
    door: Door
    key_id: UUID | None = None
    person_id: UUID | None = None
    name: str | None = None
    """`user@host` of an operator, or a person's name. An API key's name is looked up when the entry
    is written."""
    client: str | None = None
    """The network address of the caller."""
    correlation_id: str | None = None


SYSTEM = Actor(kind=ActorKind.SYSTEM, door=Door.WORKER)
"""The worker itself: the actor of functions that no caller asked for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditRecord:
    """An entry to write."""

    actor: Actor
    action: AuditAction
    subject: AuditSubject | None = None
    subject_id: UUID | str | None = None
    workspace_id: int | None = None
    outcome: AuditOutcome = AuditOutcome.OK
    problem: str | None = None
    details: dict[str, Any] = field(default_factory=dict[str, Any])
    """Small, without secrets and personal data."""

    def with_outcome(self, outcome: AuditOutcome, problem: str) -> "AuditRecord":
        """Return the record of a request that was refused, or failed."""
        return replace(self, outcome=outcome, problem=problem)
