"""Addresses of iCal feeds: create, list, revoke, and find by the token that a calendar sends.

Calendar programs send no headers, so the token is in the address. Only its SHA-256 is stored. In
every function, `workspace_id` is the caller's (None: it sees all).
"""

import secrets
from dataclasses import dataclass
from uuid import UUID

from sqlalchemy import Engine
from uuid_utils.compat import uuid7

from db import api_keys, audit_log, calendar_feeds
from db.session import Connection, transaction
from schemas.audit import AuditAction, AuditSubject
from schemas.values.actor import Actor, AuditRecord
from schemas.values.calendar_feed import CalendarFeed
from worker.operations.api_keys import to_digest
from worker.runtime.refused import Refused

MAX_FEEDS = 50
"""Valid addresses of a workspace."""


class FeedRefused(Refused):
    """Nothing was changed; the text says why."""


@dataclass(frozen=True, kw_only=True)
class NewCalendarFeed:
    """An address that was just created."""

    id: UUID
    token: str
    """Shown once, as a part of the address."""


def create_feed(
    engine: Engine, for_workspace: int, workspace_id: int | None, by: Actor
) -> NewCalendarFeed:
    """Create an address for the feed of a workspace. Raises FeedRefused."""
    feed = NewCalendarFeed(id=uuid7(), token=secrets.token_urlsafe(32))
    with transaction(engine) as tx:
        hidden = workspace_id not in (None, for_workspace)
        if hidden or not api_keys.has_workspace(tx, for_workspace):
            raise FeedRefused(f"There is no workspace {for_workspace}.")
        if calendar_feeds.count_valid(tx, for_workspace) >= MAX_FEEDS:
            raise FeedRefused(
                f"Workspace {for_workspace} has {MAX_FEEDS} feeds, the most it may have: revoke"
                " one first."
            )
        calendar_feeds.insert(
            tx,
            feed_id=feed.id,
            digest=to_digest(feed.token),
            workspace_id=for_workspace,
            created_by=by.key_id or by.person_id,
        )
        _audit(tx, AuditAction.CALENDAR_FEED_CREATE, feed.id, for_workspace, by)
    return feed


def list_feeds(engine: Engine, workspace_id: int | None) -> list[CalendarFeed]:
    """Return the newest 200 addresses, revoked ones too, without their tokens."""
    with transaction(engine) as tx:
        return calendar_feeds.read_all(tx, workspace_id)


def revoke_feed(engine: Engine, feed_id: UUID, workspace_id: int | None, by: Actor) -> bool:
    """Revoke an address at once. False: unknown, or already revoked."""
    with transaction(engine) as tx:
        owner = calendar_feeds.revoke(tx, feed_id, workspace_id)
        if owner is not None:
            _audit(tx, AuditAction.CALENDAR_FEED_REVOKE, feed_id, owner, by)
    return owner is not None


def find_workspace(engine: Engine, token: str) -> int | None:
    """Return the workspace whose feed has this token. None: unknown or revoked."""
    with transaction(engine) as tx:
        return calendar_feeds.find(tx, to_digest(token))


def _audit(
    tx: Connection, action: AuditAction, feed_id: UUID, workspace_id: int, by: Actor
) -> None:
    record = AuditRecord(
        actor=by,
        action=action,
        subject=AuditSubject.CALENDAR_FEED,
        subject_id=feed_id,
        workspace_id=workspace_id,
    )
    audit_log.append(tx, [record])
