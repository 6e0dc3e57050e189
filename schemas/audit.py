"""The audit log: who changed or tried to change something, from where, and with which outcome."""

from datetime import datetime
from enum import StrEnum
from typing import Annotated, Any
from uuid import UUID

from pydantic import Field

from schemas.fields import INT64_MAX, Frozen, ShortText
from schemas.times import Time


class AuditAction(StrEnum):
    """What was asked for."""

    COMMAND_CREATE = "command.create"
    """A publish or unpublish command, from the command line or the console. Commands that the API
    accepts name their key in `requested_by` instead."""
    COMMAND_RESCHEDULE = "command.reschedule"
    COMMAND_CANCEL = "command.cancel"
    COMMAND_RETRY = "command.retry"
    COMMAND_RETRY_ALL = "command.retry_all"
    """New attempts for many failed commands; `details` has the filter and the number."""
    COMMAND_RECOMPUTE = "command.recompute"
    """New instants for local times, by an operator; `details` has the zone and the number."""
    WEBHOOK_ENDPOINT_CREATE = "webhook_endpoint.create"
    WEBHOOK_ENDPOINT_UPDATE = "webhook_endpoint.update"
    WEBHOOK_ENDPOINT_DELETE = "webhook_endpoint.delete"
    WEBHOOK_ENDPOINT_ROTATE = "webhook_endpoint.rotate"
    WEBHOOK_ENDPOINT_TEST = "webhook_endpoint.test"
    WEBHOOK_ENDPOINT_REPLAY = "webhook_endpoint.replay"
    WEBHOOK_DELIVERY_REPLAY = "webhook_delivery.replay"
    API_KEY_CREATE = "api_key.create"
    API_KEY_REVOKE = "api_key.revoke"
    CALENDAR_FEED_CREATE = "calendar_feed.create"
    CALENDAR_FEED_REVOKE = "calendar_feed.revoke"
    SESSION_SIGN_IN = "session.sign_in"
    SESSION_SIGN_OUT = "session.sign_out"
    """At the console, or at the identity provider, which then says so."""
    SESSION_END = "session.end"
    """An operator has ended a session of another person or key."""
    QUARANTINE_RETRY = "quarantine.retry"
    QUARANTINE_DELETE = "quarantine.delete"
    DEAD_LETTER_RETRY = "dead_letter.retry"
    DEAD_LETTER_DELETE = "dead_letter.delete"
    STREAM_REBUILD = "stream.rebuild"


class AuditSubject(StrEnum):
    """The kind of thing that an action is about."""

    COMMAND = "command"
    WEBHOOK_ENDPOINT = "webhook_endpoint"
    WEBHOOK_DELIVERY = "webhook_delivery"
    API_KEY = "api_key"
    CALENDAR_FEED = "calendar_feed"
    SESSION = "session"
    QUARANTINED_MESSAGE = "quarantined_message"
    CONSUMER_GROUP = "consumer_group"


class ActorKind(StrEnum):
    """Who acted."""

    API_KEY = "api_key"
    PERSON = "person"
    """A person who has signed in to the console with the identity provider."""
    OPERATOR = "operator"
    """A user of the command line, by the operating system's user and host."""
    SYSTEM = "system"
    """The worker itself."""


class Door(StrEnum):
    """The interface that the request came through."""

    API = "api"
    CLI = "cli"
    CONSOLE = "console"
    WORKER = "worker"


class AuditOutcome(StrEnum):
    """The result."""

    OK = "ok"
    REFUSED = "refused"
    """Nothing was changed; `problem` says why."""
    FAILED = "failed"
    """An error ended the request; nothing was changed. With the problem `redis-no-answer`, whether
    something was changed is not known."""


class AuditEntry(Frozen):
    """One entry of the audit log. Entries are never changed."""

    id: UUID
    at: datetime
    actor: ActorKind
    key_id: UUID | None
    """The API key that asked. null: a person, an operator or the system."""
    person_id: UUID | None
    """The person of the identity provider who asked, at the console."""
    actor_name: str | None
    """The key's or the person's name at that time, or `user@host` of an operator."""
    door: Door
    client: str | None
    """The network address of the caller."""
    correlation_id: str | None
    action: AuditAction
    subject: AuditSubject | None
    subject_id: str | None
    workspace_id: int | None
    """The subject's workspace; of a refused request, the one that its key is confined to. null:
    every workspace."""
    outcome: AuditOutcome
    problem: str | None
    """The type of the problem, such as `command-ended`, unless the outcome is `ok`."""
    details: dict[str, Any]
    """What was changed; without secrets."""


class AuditLog(Frozen):
    """A page of entries, the newest first. `next`: the URL of the next page, or null."""

    entries: list[AuditEntry]
    next: str | None = None


class AuditFilter(Frozen):
    """A filter for entries, and the start of the page."""

    workspace_id: Annotated[int, Field(ge=1, le=INT64_MAX)] | None = None
    """Only entries of this workspace, for keys that see every workspace."""
    actor: ActorKind | None = None
    """Only entries of actors of this kind."""
    key_id: UUID | None = None
    """Only what this API key asked for."""
    person_id: UUID | None = None
    """Only what this person asked for."""
    action: AuditAction | None = None
    """Only entries with this action."""
    subject: AuditSubject | None = None
    """Only entries about subjects of this kind."""
    subject_id: ShortText | None = None
    """Only entries about this subject."""
    outcome: AuditOutcome | None = None
    """Only entries with this outcome."""
    since: Time | None = None
    """Only entries of this time or later."""
    until: Time | None = None
    """Only entries before this time."""
    before: UUID | None = None
    """The last entry of the previous page."""
    limit: Annotated[int, Field(ge=1, le=200)] = 50
    """The size of the page."""
