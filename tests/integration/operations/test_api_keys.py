"""API keys: shown once, stored hashed, revoked at once."""

from uuid import uuid4

import pytest
from sqlalchemy import Engine

from db.session import transaction
from schemas.values.actor import SYSTEM
from schemas.values.caller import Caller, Scope
from worker.operations.api_keys import (
    KeyRefused,
    NoSuchWorkspace,
    create_key,
    create_key_for,
    identify,
    list_keys,
    revoke_key,
)


def test_a_key_identifies_its_caller(platform: Engine) -> None:
    secret = create_key(platform, name="ci", scope=Scope.PUBLISH, workspace_id=1)
    caller = identify(platform, secret)
    assert caller is not None
    assert (caller.scope, caller.workspace_id) == (Scope.PUBLISH, 1)


def test_a_key_has_256_random_bits(platform: Engine) -> None:
    secrets = {
        create_key(platform, name="n", scope=Scope.READ, workspace_id=None) for _ in range(20)
    }
    assert len(secrets) == 20
    assert all(len(secret) == len("pw_") + 43 for secret in secrets)


def test_the_secret_is_nowhere_in_the_database(platform: Engine) -> None:
    secret = create_key(platform, name="ci", scope=Scope.READ, workspace_id=1)
    with transaction(platform) as tx:
        rows = tx.execute("SELECT to_jsonb(k)::text FROM publisher.api_key k").fetchall()
    assert len(rows) == 1
    assert secret not in rows[0][0]


@pytest.mark.parametrize("name", ["", "x" * 256, "a\x00b", "\ud800"])
def test_a_name_that_cannot_be_stored_or_is_too_long_is_refused(
    platform: Engine, name: str
) -> None:
    with pytest.raises(KeyRefused, match="1 to 255 characters"):
        create_key(platform, name=name, scope=Scope.READ, workspace_id=1)
    assert list_keys(platform) == []


def test_a_revoked_key_identifies_no_caller(platform: Engine) -> None:
    secret = create_key(platform, name="ci", scope=Scope.ADMIN, workspace_id=None)
    [key] = list_keys(platform)
    assert revoke_key(platform, key.id) is True
    assert identify(platform, secret) is None
    assert revoke_key(platform, key.id) is False


@pytest.mark.parametrize("secret", ["", "pw_", "nonsense", "pw_" + "x" * 43, "ü\udcff"])
def test_an_invalid_key_identifies_no_caller(platform: Engine, secret: str) -> None:
    assert identify(platform, secret) is None


def test_a_key_for_a_workspace_that_is_not_there_is_refused(platform: Engine) -> None:
    with pytest.raises(NoSuchWorkspace):
        create_key(platform, name="ci", scope=Scope.READ, workspace_id=77)


@pytest.mark.parametrize(
    ("has", "needs", "may"),
    [
        (Scope.EVENTS, Scope.READ, False),
        (Scope.READ, Scope.EVENTS, True),
        (Scope.READ, Scope.READ, True),
        (Scope.READ, Scope.PUBLISH, False),
        (Scope.PUBLISH, Scope.READ, True),
        (Scope.PUBLISH, Scope.ADMIN, False),
        (Scope.ADMIN, Scope.PUBLISH, True),
    ],
)
def test_each_scope_includes_the_ones_before_it(has: Scope, needs: Scope, may: bool) -> None:
    assert has.includes(needs) is may


def test_a_callers_key_limits_the_keys_that_it_creates_sees_and_revokes(platform: Engine) -> None:
    create_key(platform, name="mine", scope=Scope.ADMIN, workspace_id=1)
    create_key(platform, name="other", scope=Scope.READ, workspace_id=2)
    create_key(platform, name="all", scope=Scope.READ, workspace_id=None)
    mine, other, every = list_keys(platform)
    assert list_keys(platform, 1) == [mine]
    for key in (other, every):
        assert revoke_key(platform, key.id, within=1) is False
    assert revoke_key(platform, mine.id, within=1) is True


@pytest.mark.parametrize(
    ("caller_scope", "scope", "workspace_id"),
    [
        (Scope.PUBLISH, Scope.ADMIN, 1),
        (Scope.ADMIN, Scope.READ, 2),
        (Scope.ADMIN, Scope.READ, None),
    ],
)
def test_a_key_beyond_the_callers_own_is_refused(
    platform: Engine, caller_scope: Scope, scope: Scope, workspace_id: int | None
) -> None:
    caller = Caller(key_id=uuid4(), scope=caller_scope, workspace_id=1)
    with pytest.raises(KeyRefused):
        create_key_for(
            platform, caller, name="n", scope=scope, workspace_id=workspace_id, by=SYSTEM
        )
    assert list_keys(platform) == []
