"""Back-channel log-out: the provider ends sessions, and no other caller can."""

import time
from collections.abc import Generator
from typing import Any
from uuid import uuid4

import pytest
from joserfc import jwt
from redis import Redis
from sqlalchemy import Engine

from schemas.audit import ActorKind, AuditAction, AuditFilter
from tests.support.api import Api
from tests.support.at_provider import SESSION, START, come_back, console_at, get, is_signed_in
from tests.support.identity_provider import (
    CLIENT_ID,
    Provider,
    make_key,
    sign,
    spoilt_provider,
)
from worker.operations.audit import list_page

EVENT = "http://schemas.openid.net/event/backchannel-logout"


@pytest.fixture
def provider() -> Generator[Provider]:
    with spoilt_provider() as started:
        started.claims = {"sid": "s-1"}
        yield started


@pytest.fixture
def console(platform: Engine, redis: Redis, redis_url: str, provider: Provider) -> Generator[Api]:
    with console_at(provider, platform, redis, redis_url) as api:
        yield api


def to_token(provider: Provider, typ: str = "logout+jwt", **changed: Any) -> str:
    """A logout token; `changed` are its claims, None removes one."""
    now = int(time.time())
    claims: dict[str, Any] = {
        "iss": provider.issuer,
        "aud": CLIENT_ID,
        "iat": now,
        "exp": now + 120,
        "jti": str(uuid4()),
        "events": {EVENT: {}},
        "sub": "u-1",
        "sid": "s-1",
        **changed,
    }
    header = {"alg": "RS256", "kid": provider.key.kid, "typ": typ}
    kept = {name: value for name, value in claims.items() if value is not None}
    return jwt.encode(header, kept, provider.key)


def log_out(api: Api, token: str) -> Any:
    """Send a logout token as a provider does: without cookies."""
    assert api.client
    kept = api.client.cookies.get(SESSION)
    api.client.cookies.clear()
    answer = api.client.post(f"{START}/back-channel-logout", data={"logout_token": token})
    if kept:
        api.client.cookies.set(SESSION, kept)
    return answer


def test_a_person_who_logs_out_at_the_provider_is_signed_out_here(
    console: Api, provider: Provider
) -> None:
    assert come_back(console).status_code == 200
    token = to_token(provider)
    answer = log_out(console, token)
    assert (answer.status_code, answer.headers["cache-control"]) == (200, "no-store")
    assert not is_signed_in(console)
    assert log_out(console, token).status_code == 200, "again is not an error"
    [entry] = list_page(
        console.engine, AuditFilter(action=AuditAction.SESSION_SIGN_OUT), None
    ).items
    assert (entry.actor, entry.actor_name) == (ActorKind.PERSON, "Ada Lovelace <ada@example.com>")
    assert entry.details == {"at": "identity provider"}


@pytest.mark.parametrize(
    ("named", "signed_in"),
    [
        ({"sid": None}, False),
        ({"sub": None}, False),
        ({"sid": "s-2"}, True),
        ({"sub": "u-2"}, True),
        ({"sub": "u-2", "sid": None}, True),
    ],
)
def test_only_what_the_token_names_is_ended(
    console: Api, provider: Provider, named: dict[str, Any], *, signed_in: bool
) -> None:
    assert come_back(console).status_code == 200
    assert log_out(console, to_token(provider, **named)).status_code == 200
    assert is_signed_in(console) is signed_in


INVALID: tuple[dict[str, Any], ...] = (
    {"iss": "https://evil.example"},
    {"aud": "another-client"},
    {"aud": None},
    {"iat": None},
    {"iat": 1_000_000_000},
    {"iat": 4_000_000_000},
    {"exp": 1_000_000_000},
    {"jti": None},
    {"events": None},
    {"events": []},
    {"events": {"http://schemas.openid.net/event/other": {}}},
    {"events": {EVENT: "yes"}},
    {"nonce": "n"},
    {"sub": None, "sid": None},
    {"sub": 7},
    {"sid": ["s-1"]},
    {"typ": "at+jwt"},
)


def test_a_token_that_is_not_a_valid_logout_token_ends_nothing(
    console: Api, provider: Provider
) -> None:
    assert come_back(console).status_code == 200
    for changed in INVALID:
        answer = log_out(console, to_token(provider, **changed))
        assert (answer.status_code, answer.json()["error"]) == (400, "invalid_request"), changed
    for token in ("", "x", "a.b.c", sign(provider, provider.to_claims("n"))):
        assert log_out(console, token).status_code == 400, token
    assert is_signed_in(console)


def test_a_token_of_another_signer_ends_nothing(console: Api, provider: Provider) -> None:
    assert come_back(console).status_code == 200
    own, provider.key = provider.key, make_key("1-of-another")
    token = to_token(provider)
    provider.key = own
    assert log_out(console, token).status_code == 400
    assert is_signed_in(console)


def test_a_logout_token_does_not_sign_in(console: Api, provider: Provider) -> None:
    provider.sign = lambda provider, _: to_token(provider)
    assert come_back(console).status_code == 401


def test_without_a_provider_the_address_does_not_exist(api: Api) -> None:
    assert log_out(api, "x").status_code == 404
    assert get(api, f"{START}/leave").status_code == 404
