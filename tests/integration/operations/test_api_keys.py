"""API keys: shown once, stored hashed, revoked at once."""

import pytest
from sqlalchemy import Engine

from db.session import transaction
from schemas.values.caller import Scope
from worker.operations.api_keys import (
    KeyRefused,
    NoSuchWorkspace,
    create_key,
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
