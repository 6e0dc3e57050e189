"""Addresses of iCal feeds: shown once, for one workspace, revoked at once."""

import pytest
from sqlalchemy import Engine

from db.session import transaction
from schemas.audit import ActorKind, AuditFilter, Door
from schemas.values.actor import Actor
from worker.operations import calendar_feeds
from worker.operations.audit import list_page
from worker.operations.calendar_feeds import (
    FeedRefused,
    create_feed,
    find_workspace,
    list_feeds,
    revoke_feed,
)

ADA = Actor(kind=ActorKind.OPERATOR, door=Door.CLI, name="ada@studio")


def test_a_token_finds_its_workspace_until_it_is_revoked(platform: Engine) -> None:
    feed = create_feed(platform, 1, None, ADA)
    assert find_workspace(platform, feed.token) == 1
    assert find_workspace(platform, "unknown") is None
    [listed] = list_feeds(platform, 1)
    assert (listed.id, listed.revoked_at) == (feed.id, None)
    assert listed.last_read_at is not None
    assert revoke_feed(platform, feed.id, 1, ADA)
    assert find_workspace(platform, feed.token) is None
    assert not revoke_feed(platform, feed.id, 1, ADA)
    actions = [entry.action for entry in list_page(platform, AuditFilter(), 1).items]
    assert actions == ["calendar_feed.revoke", "calendar_feed.create"]


def test_the_token_is_nowhere_in_the_database(platform: Engine) -> None:
    feed = create_feed(platform, 1, 1, ADA)
    with transaction(platform) as tx:
        rows = tx.execute("SELECT to_jsonb(f)::text FROM publisher.calendar_feed f").fetchall()
    assert len(rows) == 1
    assert feed.token not in rows[0][0]


def test_feeds_of_another_workspace_do_not_exist(platform: Engine) -> None:
    feed = create_feed(platform, 2, None, ADA)
    assert list_feeds(platform, 1) == []
    assert not revoke_feed(platform, feed.id, 1, ADA)
    for workspace_id in (2, 77):
        with pytest.raises(FeedRefused, match="no workspace"):
            create_feed(platform, workspace_id, 1, ADA)
    assert find_workspace(platform, feed.token) == 2


def test_a_workspace_has_a_limited_number_of_feeds(
    platform: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(calendar_feeds, "MAX_FEEDS", 1)
    first = create_feed(platform, 1, 1, ADA)
    with pytest.raises(FeedRefused, match="revoke one first"):
        create_feed(platform, 1, 1, ADA)
    revoke_feed(platform, first.id, 1, ADA)
    assert create_feed(platform, 1, 1, ADA)
