"""Sign in with an identity provider: the whole flow, and every way in which it must fail."""

import json
import logging
import re
from base64 import urlsafe_b64encode
from collections.abc import Callable, Generator
from dataclasses import replace
from typing import Any
from urllib.parse import quote_plus

import httpx
import pytest
from joserfc import jwt
from joserfc.jwk import OctKey
from redis import Redis
from sqlalchemy import Engine

from schemas.audit import ActorKind, AuditAction, AuditFilter, AuditOutcome
from schemas.values.access import AccessRule
from schemas.values.caller import Scope
from tests.support.api import Api, serving
from tests.support.at_provider import (
    SESSION,
    START,
    come_back,
    console_at,
    find_flow_cookie,
    get,
    go_to_provider,
    is_signed_in,
    read_error,
)
from tests.support.identity_provider import (
    ADA,
    RULES,
    SECRET,
    Provider,
    make_key,
    settings_for,
    sign,
    spoilt_provider,
)
from tests.support.pipeline import BASE_URL
from tests.support.waiting import PATIENCE
from worker.api.oidc import provider as oidc_provider
from worker.operations.audit import list_page
from worker.operations.people import ATTEMPT_AGE
from worker.operations.retention import prune
from worker.runtime.settings import Settings


@pytest.fixture
def provider() -> Generator[Provider]:
    with spoilt_provider() as started:
        yield started


@pytest.fixture
def console(platform: Engine, redis: Redis, redis_url: str, provider: Provider) -> Generator[Api]:
    with console_at(provider, platform, redis, redis_url) as api:
        yield api


def test_a_person_signs_in_and_lands_on_the_page_that_was_asked_for(console: Api) -> None:
    landed = come_back(console)
    assert landed.status_code == 200
    assert '<meta http-equiv="refresh" content="0;url=/console/videos/?q=x">' in landed.text
    assert landed.headers["referrer-policy"] == "no-referrer"
    page = get(console, "/console/")
    assert "Ada Lovelace &lt;ada@example.com&gt;" in page.text
    assert "workspace 1" in page.text


def test_both_cookies_are_out_of_reach_of_scripts_and_only_the_first_one_is_lax(
    console: Api,
) -> None:
    begun = get(console, START)
    cookie = begun.headers["set-cookie"].lower()
    assert all(each in cookie for each in ("httponly", "secure", "samesite=lax", f"path={START}"))
    callback = httpx.get(begun.headers["location"], timeout=PATIENCE).headers["location"]
    cookies = come_back(console, callback.removeprefix(BASE_URL)).headers.get_list("set-cookie")
    session = next(each for each in cookies if each.startswith(SESSION)).lower()
    assert all(each in session for each in ("httponly", "secure", "samesite=strict"))
    name = cookie.partition("=")[0]
    assert any(each.startswith(f'{name}="";') for each in cookies)


def test_the_first_rule_with_a_group_of_the_person_decides(console: Api) -> None:
    come_back(console)
    page = get(console, "/console/")
    assert 'title="Scope publish"' in page.text
    assert get(console, "/console/keys/").status_code == 403


def test_a_person_without_a_rule_is_refused_and_the_audit_log_says_so(
    console: Api, provider: Provider
) -> None:
    provider.person["groups"] = ["Editors", "guests"]
    answer = come_back(console)
    assert answer.status_code == 403
    assert "none of your groups" in read_error(answer)
    assert f'href="{START}/leave"' in answer.text, "to sign in as another person"
    assert not is_signed_in(console)
    [entry] = list_page(console.engine, AuditFilter(actor=ActorKind.PERSON), None).items
    assert (entry.action, entry.outcome) == (AuditAction.SESSION_SIGN_IN, AuditOutcome.REFUSED)
    assert (entry.problem, entry.actor_name) == ("no-access", "Ada Lovelace <ada@example.com>")


def test_a_change_and_the_command_name_the_person(console: Api) -> None:
    come_back(console)
    video = console.video(title="Mine")
    form = {"action": "publish", "csrf": token_of(console)}
    assert console.client
    assert console.client.post(f"/console/videos/{video}/commands", data=form).status_code == 200
    [entry] = list_page(console.engine, AuditFilter(action=AuditAction.COMMAND_CREATE), None).items
    assert (entry.actor, entry.actor_name) == (ActorKind.PERSON, "Ada Lovelace <ada@example.com>")
    assert entry.person_id is not None
    assert entry.key_id is None
    [command] = console.get("/publish-commands", "admin").json()["commands"]
    assert command["requested_by"] == str(entry.person_id)


def test_a_person_keeps_its_id_when_its_name_changes(console: Api, provider: Provider) -> None:
    come_back(console)
    provider.person["name"] = "Ada King"
    come_back(console)
    found = list_page(console.engine, AuditFilter(action=AuditAction.SESSION_SIGN_IN), None).items
    assert len({each.person_id for each in found}) == 1
    assert len({each.actor_name for each in found}) == 2


def token_of(api: Api) -> str:
    found = re.search(r'name="csrf" value="([^"]+)"', get(api, "/console/").text)
    assert found
    return found[1]


def test_a_rule_that_is_taken_away_ends_the_session_at_the_next_request(
    console: Api, platform: Engine, redis: Redis, redis_url: str, provider: Provider
) -> None:
    come_back(console)
    assert console.client
    cookie = console.client.cookies[SESSION]
    for rules, status, scope in (
        (RULES, 200, "publish"),
        (RULES[2:], 200, "read"),
        (RULES[:1], 303, None),
    ):
        settings = settings_for(provider.issuer, rules)
        with serving(platform, redis, redis_url, **settings) as restarted:
            assert restarted.client
            restarted.client.cookies.set(SESSION, cookie)
            page = get(restarted, "/console/")
            assert page.status_code == status
            assert scope is None or f'title="Scope {scope}"' in page.text


def test_a_session_is_not_valid_at_another_provider(
    console: Api, platform: Engine, redis: Redis, redis_url: str
) -> None:
    come_back(console)
    assert console.client
    settings = settings_for("https://other.example")
    with serving(platform, redis, redis_url, **settings) as other:
        assert other.client
        other.client.cookies.set(SESSION, console.client.cookies[SESSION])
        assert get(other, "/console/").status_code == 303


def test_log_out_ends_the_session_and_offers_to_leave_the_provider(
    console: Api, provider: Provider
) -> None:
    come_back(console)
    assert console.client
    cookie = console.client.cookies[SESSION]
    left = console.client.post("/console/sign-out", data={"csrf": token_of(console)})
    assert f'href="{START}/leave"' in left.text
    leaving = get(console, f"{START}/leave")
    assert leaving.status_code == 303
    assert leaving.headers["location"].startswith(
        f"{provider.issuer}/leave?client_id=console&post_logout"
    )
    console.client.cookies.set(SESSION, cookie, path="/console")
    assert not is_signed_in(console)
    [entry] = list_page(
        console.engine, AuditFilter(action=AuditAction.SESSION_SIGN_OUT), None
    ).items
    assert (entry.actor_name, entry.workspace_id) == ("Ada Lovelace <ada@example.com>", 1)


def test_the_page_after_the_sign_in_is_always_one_of_the_console(console: Api) -> None:
    others = ("//evil.example/", "https://evil.example/", "/\\evil.example", "/docs", "x" * 5_000)
    others += ("/console/../docs", "/console/%2E%2e/docs", START)
    for after in others:
        landed = come_back(console, go_to_provider(console, after))
        assert 'content="0;url=/console/">' in landed.text, after


# Attacks on the callback.


def test_a_callback_without_a_state_or_with_another_one_is_refused_and_spoils_nothing(
    console: Api,
) -> None:
    callback = go_to_provider(console)
    code = callback.partition("?")[2]
    for state in ("", "0" * 64):
        forged = re.sub(r"state=[^&]*", f"state={state}", code)
        answer = come_back(console, f"{START}/callback?{forged}")
        assert answer.status_code == 400
        assert "not begun in this browser" in read_error(answer)
    assert come_back(console, callback).status_code == 200


def test_a_callback_of_another_browser_is_refused(console: Api) -> None:
    callback = go_to_provider(console)
    assert console.client
    console.client.cookies.clear()
    assert come_back(console, callback).status_code == 400
    go_to_provider(console)  # with a sign-in of its own
    assert come_back(console, callback).status_code == 400
    assert not is_signed_in(console)


def test_a_callback_works_once_even_with_its_cookie(console: Api, provider: Provider) -> None:
    callback = go_to_provider(console)
    assert console.client
    name, cookie = find_flow_cookie(console)
    assert come_back(console, callback).status_code == 200
    console.client.cookies.clear()
    console.client.cookies.set(name, cookie, path=START)
    asked = len(provider.asked)
    assert come_back(console, callback).status_code == 400
    assert len(provider.asked) == asked, "the code is not sent to the provider again"


def test_two_tabs_sign_in_at_once(console: Api) -> None:
    first = go_to_provider(console, "/console/videos/")
    second = go_to_provider(console, "/console/keys/")
    assert "0;url=/console/videos/" in come_back(console, first).text
    assert "0;url=/console/keys/" in come_back(console, second).text


def test_sign_ins_that_are_not_completed_leave_few_cookies(console: Api) -> None:
    callbacks = [go_to_provider(console) for _ in range(12)]
    assert console.client
    assert len(console.client.cookies) <= 5
    assert come_back(console, callbacks[-1]).status_code == 200


def test_a_sign_in_that_takes_too_long_is_refused_and_pruned(console: Api) -> None:
    callback = go_to_provider(console)
    console.execute(
        f"UPDATE publisher.sign_in_attempt SET expires_at = now() - interval '{ATTEMPT_AGE}'"
    )
    go_to_provider(console)
    assert come_back(console, callback).status_code == 400
    console.execute("UPDATE publisher.sign_in_attempt SET expires_at = now()")
    prune(console.engine, console.redis, Settings())
    [[rows]] = console.rows("SELECT count(*) FROM publisher.sign_in_attempt")
    assert rows == 0


def test_a_code_that_the_provider_has_seen_before_is_refused(
    console: Api, provider: Provider
) -> None:
    callback = go_to_provider(console)
    provider.codes.clear()
    answer = come_back(console, callback)
    assert answer.status_code == 401
    assert "answer is not valid" in read_error(answer)


def test_a_callback_that_names_another_provider_is_refused_before_the_code_is_sent(
    console: Api, provider: Provider
) -> None:
    provider.answer["iss"] = "https://evil.example"
    assert come_back(console).status_code == 401
    assert "/token" not in provider.asked


def test_a_callback_without_a_provider_is_refused_if_the_provider_always_names_itself(
    console: Api, provider: Provider
) -> None:
    provider.metadata["authorization_response_iss_parameter_supported"] = True
    provider.answer["iss"] = ""
    assert come_back(console).status_code == 401
    assert "/token" not in provider.asked


def test_an_error_of_the_provider_is_explained_and_its_text_is_not_shown(
    console: Api, provider: Provider
) -> None:
    provider.answer |= {"error": "access_denied", "error_description": "Call 555-EVIL", "code": ""}
    answer = come_back(console)
    assert "did not let you in" in read_error(answer)
    assert "EVIL" not in answer.text
    provider.answer["error"] = "<b>bad</b>"
    assert "an error without a valid name" in read_error(come_back(console))


# Attacks on the ID token.


def sign_with_none(_: Provider, claims: dict[str, Any]) -> str:
    parts = ({"alg": "none"}, claims)
    encoded = [urlsafe_b64encode(dumps(each)).rstrip(b"=").decode() for each in parts]
    return f"{'.'.join(encoded)}."


def sign_with_client_secret(_: Provider, claims: dict[str, Any]) -> str:
    return jwt.encode({"alg": "HS256"}, claims, OctKey.import_key(SECRET))


def sign_with_public_key_as_secret(provider: Provider, claims: dict[str, Any]) -> str:
    public = provider.key.as_pem(private=False)
    text = {"alg": "HS256", "kid": "1"}
    return jwt.encode(text, claims, OctKey.import_key(urlsafe_b64encode(public)))


def sign_with_another_key(_: Provider, claims: dict[str, Any]) -> str:
    return jwt.encode({"alg": "RS256", "kid": "1"}, claims, make_key("another"))


def change_after_signing(provider: Provider, claims: dict[str, Any]) -> str:
    head, _, tail = sign(provider, claims).split(".")
    body = dumps({**claims, "groups": ["operators"]})
    return f"{head}.{urlsafe_b64encode(body).rstrip(b'=').decode()}.{tail}"


def sign_nothing(_: Provider, __: dict[str, Any]) -> str:
    return "not.a.token"


def dumps(value: object) -> bytes:
    return json.dumps(value).encode()


FORGERIES: tuple[Callable[[Provider, dict[str, Any]], str], ...] = (
    sign_with_none,
    sign_with_client_secret,
    sign_with_public_key_as_secret,
    sign_with_another_key,
    change_after_signing,
    sign_nothing,
)


@pytest.mark.parametrize("offered", [["RS256"], ["none", "HS256", "RS256"]])
def test_an_id_token_without_a_valid_signature_is_refused(
    console: Api, provider: Provider, offered: list[str]
) -> None:
    """Even if the provider's own description offers the weak algorithms."""
    provider.metadata["id_token_signing_alg_values_supported"] = offered
    for forge in FORGERIES:
        provider.sign = forge
        assert_refused(console, forge)


def assert_refused(console: Api, what: object) -> None:
    answer = come_back(console)
    assert answer.status_code == 401, what
    assert "answer is not valid" in read_error(answer), what
    assert not is_signed_in(console), what


def test_a_provider_with_weak_signatures_only_is_refused(console: Api, provider: Provider) -> None:
    provider.sign = sign_with_client_secret
    provider.metadata["id_token_signing_alg_values_supported"] = ["none", "HS256"]
    assert come_back(console).status_code == 401


OTHERS: tuple[dict[str, Any], ...] = (
    {"nonce": "of another sign-in"},
    {"nonce": None},
    {"aud": "another-client"},
    {"aud": ["another-client"]},
    {"aud": "another-client", "azp": "console"},
    {"aud": ["console", "another-client"]},
    {"aud": ["console", "another-client"], "azp": "another-client"},
    {"azp": "another-client"},
    {"aud": None},
    {"iss": "https://evil.example"},
    {"iss": None},
    {"sub": None},
    {"sub": ""},
    {"sub": 7},
    {"exp": None},
    {"iat": None},
    {"at_hash": "bm90IHRoZSBoYXNo"},
)


def test_an_id_token_for_another_sign_in_client_or_provider_is_refused(
    console: Api, provider: Provider
) -> None:
    for claims in OTHERS:
        provider.claims = claims
        assert_refused(console, claims)
    provider.claims = {}
    assert come_back(console).status_code == 200


def test_an_id_token_for_several_clients_names_ours(console: Api, provider: Provider) -> None:
    provider.claims = {"aud": ["console", "another-client"], "azp": "console"}
    assert come_back(console).status_code == 200


def test_a_wrong_clock_is_called_by_its_name(console: Api, provider: Provider) -> None:
    for claims in ({"iat": 4_000_000_000}, {"exp": 1_000_000_000}, {"nbf": 4_000_000_000}):
        provider.claims = claims
        assert "clock" in read_error(come_back(console)), claims


def test_a_new_key_of_the_provider_is_used_without_a_restart(
    console: Api, provider: Provider, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("worker.api.oidc.discovery.RETRY_SECONDS", 0.0)
    assert come_back(console).status_code == 200
    provider.key = make_key("2")
    assert come_back(console).status_code == 200


def test_keys_of_other_kinds_are_ignored(console: Api, provider: Provider) -> None:
    own = dict(provider.key.as_dict(private=False))
    provider.published = [
        {"kty": "oct", "k": "c2VjcmV0", "kid": "0"},
        {"kty": "EC", "crv": "P-1", "kid": "x"},
        {"kty": "new"},
        own | {"kid": "e", "use": "enc"},
        own,
    ]
    assert come_back(console).status_code == 200


# What a person is called, and its groups.


def test_groups_that_only_userinfo_has_are_used(console: Api, provider: Provider) -> None:
    del provider.person["groups"]
    provider.userinfo = {"sub": ADA["sub"], "groups": "editors"}
    assert come_back(console).status_code == 200
    assert 'title="Scope publish"' in get(console, "/console/").text


def test_userinfo_about_another_person_is_refused(console: Api, provider: Provider) -> None:
    del provider.person["groups"]
    provider.userinfo = {"sub": "u-2", "groups": ["operators"]}
    assert come_back(console).status_code == 401


def test_userinfo_changes_no_claim_of_the_id_token(console: Api, provider: Provider) -> None:
    del provider.person["groups"]
    provider.userinfo = {"sub": ADA["sub"], "groups": ["editors"], "name": "Grace Hopper"}
    come_back(console)
    shown = get(console, "/console/").text
    assert "Ada Lovelace" in shown
    assert "Grace" not in shown


def test_a_name_that_attacks_stays_text(console: Api, provider: Provider) -> None:
    provider.person |= {"name": "<script>alert(1)</script>\u202e\x00", "email": None}
    assert come_back(console).status_code == 200
    assert "<bdi>&lt;script&gt;alert(1)&lt;/script&gt;</bdi>" in get(console, "/console/").text


# A provider that is unreachable.


def test_without_its_provider_the_api_starts_and_keys_sign_in(
    platform: Engine, redis: Redis, redis_url: str
) -> None:
    settings = settings_for("http://localhost:9")
    with serving(platform, redis, redis_url, **settings) as api:
        assert api.call("GET", "/healthz", None).status_code == 200
        answer = get(api, START)
        assert answer.status_code == 503
        assert "does not answer" in read_error(answer)
        assert api.client
        api.client.base_url = BASE_URL
        signed_in = api.client.post("/console/sign-in", data={"key": api.secret("read")})
        assert signed_in.status_code == 200
        assert is_signed_in(api)


def test_a_provider_that_comes_back_is_used_again(
    console: Api, provider: Provider, monkeypatch: pytest.MonkeyPatch
) -> None:
    provider.is_down = True
    assert get(console, START).status_code == 503
    asked = len(provider.asked)
    assert get(console, START).status_code == 503
    assert len(provider.asked) == asked, "it is left alone for some seconds"
    monkeypatch.setattr("worker.api.oidc.discovery.RETRY_SECONDS", 0.0)
    provider.is_down = False
    assert come_back(console).status_code == 200


def test_a_description_that_is_not_the_providers_own_is_refused(
    console: Api, provider: Provider
) -> None:
    for metadata in (
        {"issuer": "https://evil.example"},
        {"token_endpoint": "ftp://evil.example"},
        {"authorization_endpoint": "javascript:alert(1)"},
        {"jwks_uri": None},
        {"token_endpoint": "http://["},
        {"token_endpoint": "http://127.0.0.1:99999/token"},
        {"end_session_endpoint": "https://idp.example/\ud800"},
    ):
        provider.metadata = metadata
        answer = get(console, START)
        assert answer.status_code == 401, metadata
        assert "location" not in answer.headers


def test_strangers_cannot_fill_the_database(
    provider: Provider,
    platform: Engine,
    redis: Redis,
    redis_url: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    limits = replace(oidc_provider.LIMITS, per_second=0)  # as if no time passed
    monkeypatch.setattr(oidc_provider, "LIMITS", limits)
    with console_at(provider, platform, redis, redis_url) as console:
        assert_strangers_are_refused(console)


def assert_strangers_are_refused(console: Api) -> None:
    answers = [get(console, START).status_code for _ in range(150)]
    assert 429 in answers
    [[rows]] = console.rows("SELECT count(*) FROM publisher.sign_in_attempt")
    assert rows < 150


def test_no_code_token_or_secret_is_in_the_log(
    console: Api, provider: Provider, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("DEBUG")
    assert come_back(console).status_code == 200
    provider.claims = {"nonce": "wrong"}
    assert come_back(console).status_code == 401
    lines = [str(each.__dict__) for each in caplog.records if not is_of_the_browser(each)]
    hidden = [*provider.given, SECRET, quote_plus(SECRET), "ada@example.com"]
    assert any("/token" in line for line in lines)
    assert not [each for each in hidden for line in lines if each in line]


def is_of_the_browser(line: logging.LogRecord) -> bool:
    """Whether the test's own clients wrote it."""
    package = line.name.partition(".")[0]
    return package in {"httpx", "httpcore", "asyncio"} or BASE_URL in line.getMessage()


def test_without_a_provider_there_is_no_way_to_one(api: Api) -> None:
    assert get(api, START).status_code == 404
    assert "/oidc" not in get(api, "/console/sign-in").text


def test_a_public_client_signs_in_without_a_secret(
    platform: Engine, redis: Redis, redis_url: str, provider: Provider
) -> None:
    settings = settings_for(provider.issuer) | {"oidc_client_secret": None}
    provider.is_public = True
    with serving(platform, redis, redis_url, **settings) as api:
        assert api.client
        api.client.base_url = BASE_URL
        assert come_back(api).status_code == 200


def test_access_to_every_workspace_is_written_down() -> None:
    with pytest.raises(ValueError, match="workspace_id"):
        AccessRule.model_validate({"group": "editors", "scope": Scope.READ})
