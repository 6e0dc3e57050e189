"""The settings of an identity provider: what cannot work is refused where the process starts."""

import json
from typing import Any

import pytest
from pydantic import ValidationError

from schemas.values.access import AccessRule
from schemas.values.caller import Scope
from worker.local.children import environment
from worker.runtime import startup
from worker.runtime.errors_explained import explain
from worker.runtime.settings import PREFIX, Settings, SettingsError, UpSettings
from worker.runtime.startup import check_identity_provider, check_oidc_installed

RULE: dict[str, Any] = {"group": "editors", "scope": "publish", "workspace_id": 1}
VALID: dict[str, Any] = {
    "oidc_issuer": "https://login.example",
    "oidc_client_id": "console",
    "oidc_access": [RULE],
}


def test_rules_are_read_in_their_order(monkeypatch: pytest.MonkeyPatch) -> None:
    everywhere = {"group": "operators", "scope": "admin", "workspace_id": None}
    monkeypatch.setenv("OIDC_ACCESS", json.dumps([everywhere, RULE]))
    assert Settings().access_policy().rules == (
        AccessRule(group="operators", scope=Scope.ADMIN, workspace_id=None),
        AccessRule(group="editors", scope=Scope.PUBLISH, workspace_id=1),
    )


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("editors", "OIDC_ACCESS is not valid: it is not JSON"),
        ('[{"group": "a", "scope": "events", "workspace_id": 1}]', "use read, publish or admin"),
        ('[{"group": "a", "scope": ["read"], "workspace_id": 1}]', "use read, publish or admin"),
        ('[{"group": "a", "scope": "read"}]', "WORKSPACE_ID is not valid: Field required"),
        ('[{"group": "", "scope": "read", "workspace_id": 1}]', "GROUP is not valid"),
        ('[{"group": "a", "scope": "read", "workspace_id": 0}]', "WORKSPACE_ID is not valid"),
        ('[{"group": "a", "scope": "read", "workspace_id": 1, "role": 1}]', "ROLE is not valid"),
    ],
)
def test_a_rule_that_is_not_valid_is_explained(
    monkeypatch: pytest.MonkeyPatch, text: str, said: str
) -> None:
    monkeypatch.setenv("OIDC_ACCESS", text)
    with pytest.raises(ValidationError) as refused:
        Settings()
    assert said in str(explain(refused.value))


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"oidc_issuer": None}, "OIDC_ISSUER is not set"),
        ({"oidc_issuer": "http://login.example"}, "needs https"),
        ({"oidc_client_id": None}, "OIDC_CLIENT_ID is not set"),
        (
            {"oidc_access": None},
            "OIDC_ACCESS is not set, so no person could sign in: set it to rules",
        ),
        ({"oidc_access": []}, "OIDC_ACCESS is not set"),
    ],
)
def test_half_of_a_provider_is_refused(changed: dict[str, Any], said: str) -> None:
    with pytest.raises(SettingsError, match=said):
        check_identity_provider(Settings.model_validate(VALID | changed))


def test_a_provider_on_this_host_may_be_without_tls() -> None:
    for issuer in ("http://localhost:9000", "http://127.0.0.1/realm", "http://[::1]:9000"):
        check_identity_provider(Settings.model_validate(VALID | {"oidc_issuer": issuer}))


def find_nothing(_: str) -> None:
    """As if no package were installed."""


def test_a_provider_without_its_library_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    check_oidc_installed(Settings.model_validate(VALID))
    monkeypatch.setattr(startup, "find_spec", find_nothing)
    check_oidc_installed(Settings())
    with pytest.raises(SettingsError, match=r"install publish-worker\[oidc\]"):
        check_oidc_installed(Settings.model_validate(VALID))


def test_the_clients_secret_is_not_shown_and_ends_before_its_line_feed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("OIDC_CLIENT_SECRET", "s3cret\n")
    settings = Settings()
    assert "s3cret" not in repr(settings)
    assert settings.oidc_client_secret is not None
    assert settings.oidc_client_secret.get_secret_value() == "s3cret"


def test_the_processes_of_up_get_the_provider_as_it_was_set(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    rules = [RULE, {"group": "operators", "scope": "admin", "workspace_id": None}]
    given = VALID | {"oidc_client_secret": "s3cret+/%", "oidc_access": rules}
    for name, value in environment(UpSettings.model_validate(given)).items():
        if name.startswith(PREFIX):
            monkeypatch.setenv(name, value)
    settings = Settings()
    assert settings == Settings.model_validate(given)
    assert settings.oidc_client_secret is not None
    assert settings.oidc_client_secret.get_secret_value() == "s3cret+/%"
