"""A provider that hangs, sends nonsense or attacks: a sign-in fails soon, and nothing else does."""

import gzip
import json
import threading
from base64 import urlsafe_b64encode
from collections.abc import Callable, Generator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler
from typing import Any

import httpx
import pytest
from redis import Redis
from sqlalchemy import Engine

from schemas.values.caller import Scope
from tests.support.api import Api
from tests.support.at_provider import START, come_back, console_at, get, is_signed_in
from tests.support.identity_provider import (
    ADA,
    Provider,
    settings_for,
    sign_text,
    spoilt_provider,
)
from tests.support.pipeline import BASE_URL
from tests.support.served import served
from tests.support.waiting import PATIENCE, takes_less_than
from worker.api.oidc.bounded_answers import MAX_BYTES
from worker.operations.api_keys import create_key

Write = Callable[[BaseHTTPRequestHandler], None]
DISCOVERY = "/.well-known/openid-configuration"
ENDPOINTS = (DISCOVERY, "/token", "/jwks", "/userinfo")


@pytest.fixture
def provider() -> Generator[Provider]:
    with spoilt_provider() as started:
        started.person.pop("groups")  # so that the userinfo endpoint is asked too
        started.userinfo = {"sub": ADA["sub"], "groups": ["editors"]}
        yield started


@pytest.fixture
def console(platform: Engine, redis: Redis, redis_url: str, provider: Provider) -> Generator[Api]:
    with console_at(provider, platform, redis, redis_url) as api:
        yield api


@pytest.fixture
def patience(monkeypatch: pytest.MonkeyPatch) -> float:
    """The longest wait for the provider, shortened."""
    for module in ("discovery", "provider"):
        monkeypatch.setattr(f"worker.api.oidc.{module}.SECONDS", 0.3)
    return 0.3


def sign_in(api: Api) -> int:
    """Try to sign in; return the status of the step that ended it."""
    begun = get(api, START)
    if begun.status_code != 303:
        return begun.status_code
    callback = httpx.get(begun.headers["location"], timeout=PATIENCE).headers["location"]
    return come_back(api, callback.removeprefix(BASE_URL)).status_code


def begin_answer(handler: BaseHTTPRequestHandler, **headers: str) -> None:
    if handler.command == "POST":
        handler.rfile.read(int(handler.headers["Content-Length"]))
    handler.send_response(int(headers.pop("status", "200")))
    handler.send_header("Content-Type", "application/json")
    for name, value in headers.items():
        handler.send_header(name.replace("_", "-"), value)
    handler.end_headers()


def hang(handler: BaseHTTPRequestHandler) -> None:
    """Accept, and never answer."""
    begin_reading = handler.connection.recv
    while begin_reading(65_536):
        pass


def drip(handler: BaseHTTPRequestHandler) -> None:
    """Answer a byte at a time, for ever."""
    begin_answer(handler)
    handler.connection.settimeout(0.05)
    with suppress(OSError):
        while True:
            handler.wfile.write(b" ")
            with suppress(TimeoutError):
                handler.connection.recv(1)


def flood(handler: BaseHTTPRequestHandler) -> None:
    """Answer endless, as fast as it goes."""
    begin_answer(handler)
    with suppress(OSError):
        while True:
            handler.wfile.write(b" " * 65_536)


def send(body: bytes, **headers: str) -> Write:
    """Answer with this body."""

    def write(handler: BaseHTTPRequestHandler) -> None:
        begin_answer(handler, Content_Length=str(len(body)), **headers)
        with suppress(OSError):
            handler.wfile.write(body)

    return write


@pytest.mark.parametrize("path", ENDPOINTS)
@pytest.mark.parametrize("write", [hang, drip])
@pytest.mark.usefixtures("patience")
def test_an_answer_that_never_ends_is_given_up(
    console: Api, provider: Provider, path: str, write: Write
) -> None:
    provider.ill = {path: write}
    assert takes_less_than(5, lambda: assert_unavailable(console))
    assert not is_signed_in(console)


def assert_unavailable(console: Api) -> None:
    assert sign_in(console) == 503


@pytest.mark.parametrize("path", ENDPOINTS)
@pytest.mark.parametrize(
    "write",
    [
        flood,
        send(json.dumps({"sub": "x" * MAX_BYTES}).encode()),
        send(gzip.compress(b'{"a":"%b"}' % (b"x" * 50 * MAX_BYTES)), Content_Encoding="gzip"),
        send(gzip.compress(b"{}"), Content_Encoding="GZIP"),
    ],
    ids=["endless", "too large", "compressed bomb", "compressed"],
)
def test_an_answer_that_is_too_large_or_compressed_is_not_read(
    console: Api, provider: Provider, path: str, write: Write
) -> None:
    provider.ill = {path: write}
    assert sign_in(console) == 503
    assert not is_signed_in(console)


@pytest.mark.parametrize("path", [DISCOVERY, "/token", "/jwks"])
@pytest.mark.parametrize("status", ["302", "307"])
def test_a_redirect_of_the_provider_is_not_followed(
    console: Api, provider: Provider, path: str, status: str
) -> None:
    provider.ill = {path: send(b"", status=status, Location=f"{provider.issuer}/elsewhere")}
    assert sign_in(console) == 503
    assert "/elsewhere" not in provider.asked


def test_a_person_whose_groups_cannot_be_asked_for_is_not_told_to_have_no_access(
    console: Api, provider: Provider
) -> None:
    provider.ill = {"/userinfo": send(b"{}", status="502")}
    assert sign_in(console) == 503
    provider.ill = {}
    assert sign_in(console) == 200


NONSENSE = (b"", b"null", b"[]", b"{", b"\xff\xfe", b"[" * 100_000, b"<html>", b'"error"')


@pytest.mark.parametrize("path", [DISCOVERY, "/token", "/jwks"])
def test_an_answer_that_is_nonsense_is_refused(
    console: Api, provider: Provider, path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("worker.api.oidc.discovery.RETRY_SECONDS", 0.0)
    for body in NONSENSE:
        provider.ill = {path: send(body)}
        assert sign_in(console) in (401, 503), body


def test_a_description_without_an_endpoint_is_refused(console: Api, provider: Provider) -> None:
    for url in ("", "http://local host/", "https://ok.example\\@evil.example/"):
        for name in ("authorization_endpoint", "token_endpoint", "jwks_uri"):
            provider.metadata = {name: url}
            assert get(console, START).status_code == 401, (name, url)


def test_too_many_or_too_large_keys_are_not_read(console: Api, provider: Provider) -> None:
    own = dict(provider.key.as_dict(private=False))
    provider.published = [own | {"kid": str(number)} for number in range(101)]
    assert sign_in(console) == 401
    provider.published = [own | {"n": urlsafe_b64encode(b"\xff" * 500_000).decode()}]
    assert sign_in(console) == 401
    provider.published = [own | {"kid": str(number)} for number in range(100)]


def test_ten_thousand_groups_and_large_claims_sign_in(console: Api, provider: Provider) -> None:
    groups = [f"team-{number}" for number in range(10_000)]
    provider.person |= {"groups": [*groups, "editors"], "picture": "x" * 100_000}
    assert come_back(console).status_code == 200
    [[stored]] = console.rows("SELECT groups FROM publisher.console_session")
    assert stored == ["editors"]


def test_a_text_that_the_database_cannot_store_is_refused(console: Api, provider: Provider) -> None:
    provider.sign = sign_text
    for subject in ("\ud800", "u-1\x00"):
        provider.claims = {"sub": subject}
        assert sign_in(console) == 401
    provider.claims = {"name": "Ada \ud800"}
    assert sign_in(console) == 200


@pytest.mark.parametrize("token", ["é", "\ud800", "a\nb", 7, ["a"], {"a": 1}])
def test_an_access_token_that_no_header_can_have_is_refused(
    console: Api, provider: Provider, token: Any
) -> None:
    provider.tokens = {"access_token": token}
    assert sign_in(console) == 401


# While the provider hangs.


def test_the_page_to_sign_in_does_not_wait_for_the_provider(
    console: Api, provider: Provider
) -> None:
    provider.ill = {DISCOVERY: hang}
    for path in ("/console/sign-in", "/console/sign-in?left=yes"):
        assert get(console, path).status_code == 200
    assert provider.asked == []


@pytest.mark.usefixtures("unhurried")
@pytest.mark.slow
def test_sign_ins_begin_while_the_keys_hang(
    platform: Engine, redis_url: str, provider: Provider
) -> None:
    settings: dict[str, Any] = settings_for(provider.issuer)
    with (
        served(platform, redis_url, **settings) as api,
        ThreadPoolExecutor(1) as pool,
        hanging(provider, "/jwks") as released,
    ):
        waiting = pool.submit(attempt, api.url)
        provider.wait_until_asked("/jwks")
        assert httpx.get(f"{api.url}{START}", timeout=PATIENCE).status_code == 303
        assert not waiting.done()
        released.set()
        assert waiting.result() == 503
        assert attempt(api.url) == 503, "it is left alone for some seconds"
        assert provider.asked.count("/jwks") == 1


@pytest.mark.usefixtures("unhurried")
@pytest.mark.slow
def test_keys_and_pages_are_fast_while_many_people_wait_for_the_provider(
    platform: Engine, redis_url: str, provider: Provider
) -> None:
    settings: dict[str, Any] = settings_for(provider.issuer)
    key = create_key(platform, name="read", scope=Scope.READ, workspace_id=1)
    with (
        served(platform, redis_url, **settings) as api,
        ThreadPoolExecutor(20) as pool,
        hanging(provider, "/token") as released,
    ):
        people = [pool.submit(attempt, api.url) for _ in range(20)]
        provider.wait_until_asked("/token", times=10)
        headers = {"Authorization": f"Bearer {key}"}
        for path in ("/console/sign-in", "/api/v1/publish-commands", "/healthz"):
            answer = httpx.get(f"{api.url}{path}", headers=headers, timeout=PATIENCE)
            assert answer.status_code == 200, path
        assert sum(not each.done() for each in people) >= 10
        released.set()
        assert {each.result() for each in people} <= {503, 429}


@pytest.fixture
def unhurried(monkeypatch: pytest.MonkeyPatch) -> None:
    """Wait for the provider, and leave it alone, for longer than the test takes."""
    for module in ("discovery", "provider"):
        monkeypatch.setattr(f"worker.api.oidc.{module}.SECONDS", 2 * PATIENCE)
    monkeypatch.setattr("worker.api.oidc.discovery.RETRY_SECONDS", 2 * PATIENCE)


@contextmanager
def hanging(provider: Provider, path: str) -> Generator[threading.Event]:
    """Answer nothing at a path until the event is set; then end the connection."""
    released = threading.Event()

    def wait(_: BaseHTTPRequestHandler) -> None:
        released.wait()

    provider.ill = {path: wait}
    try:
        yield released
    finally:
        released.set()


def attempt(url: str) -> int:
    """Sign in at a server; return the status of the step that ended it."""
    with httpx.Client(timeout=60) as browser:
        begun = browser.get(f"{url}{START}")
        if begun.status_code != 303:
            return begun.status_code
        callback = httpx.get(begun.headers["location"], timeout=PATIENCE).headers["location"]
        cookie = "; ".join(f"{each.name}={each.value}" for each in browser.cookies.jar)
        back = callback.replace(BASE_URL, url)
        return httpx.get(back, headers={"Cookie": cookie}, timeout=60).status_code
