"""OpenID providers on real sockets: one that keeps the rules, and one that a test can spoil."""

import hashlib
import json
import secrets
import subprocess
import sys
import threading
import time
from base64 import b64encode, urlsafe_b64encode
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, parse_qsl, quote_plus, urlencode, urlsplit

import httpx
from joserfc import jws, jwt
from joserfc.jwk import RSAKey
from pydantic import SecretStr

from schemas.values.access import AccessRule
from schemas.values.caller import Scope
from tests.support.free_port import free_port
from tests.support.waiting import PATIENCE, START_SECONDS, wait_until

CLIENT_ID, SECRET = "console", "s3cret+with/odd=characters%"
ADA: dict[str, Any] = {
    "sub": "u-1",
    "name": "Ada Lovelace",
    "email": "ada@example.com",
    "groups": ["staff", "editors"],
}
RULES = (
    AccessRule(group="operators", scope=Scope.ADMIN, workspace_id=None),
    AccessRule(group="editors", scope=Scope.PUBLISH, workspace_id=1),
    AccessRule(group="staff", scope=Scope.READ, workspace_id=1),
)


def settings_for(issuer: str, rules: tuple[AccessRule, ...] = RULES) -> dict[str, Any]:
    """The settings of a server whose people sign in there."""
    return {
        "oidc_issuer": issuer,
        "oidc_client_id": CLIENT_ID,
        "oidc_client_secret": SecretStr(SECRET),
        "oidc_access": rules,
    }


@contextmanager
def honest_provider(folder: Path, *people: dict[str, Any]) -> Generator[str]:
    """The program `oidc-provider-mock`, with these people; yields its issuer."""
    port = free_port()
    command = [sys.executable, "-m", "oidc_provider_mock", "--port", str(port)]
    for each in people or (ADA,):
        command += ["--user-claims", json.dumps(each)]
    issuer = f"http://localhost:{port}"
    with (folder / "provider.log").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log)
        try:
            wait_until(lambda: _is_up(issuer), "the provider to answer", START_SECONDS)
            yield issuer
        finally:
            process.terminate()
            process.wait()


def _is_up(issuer: str) -> bool:
    try:
        return httpx.get(f"{issuer}/.well-known/openid-configuration", timeout=PATIENCE).is_success
    except httpx.HTTPError:
        return False


@cache
def make_key(kid: str) -> RSAKey:
    """A key, made once: that takes a good part of a second."""
    return RSAKey.generate_key(2048, {"kid": kid})


@dataclass
class _Issued:
    """What a code stands for."""

    nonce: str
    challenge: str
    redirect_uri: str


@dataclass
class Provider:
    """A provider in this process; each field can be spoilt. It checks PKCE and the client."""

    issuer: str
    person: dict[str, Any] = field(default_factory=lambda: dict(ADA))
    key: RSAKey = field(default_factory=lambda: make_key("1"))
    published: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])
    """Keys in place of `key`'s public part."""
    metadata: dict[str, Any] = field(default_factory=dict[str, Any])
    """Added to the description."""
    claims: dict[str, Any] = field(default_factory=dict[str, Any])
    """Added to the ID token; None removes a claim."""
    userinfo: dict[str, Any] | None = None
    """What only the userinfo endpoint says."""
    answer: dict[str, str] = field(default_factory=dict[str, str])
    """Added to the callback; an empty text removes a parameter."""
    tokens: dict[str, Any] = field(default_factory=dict[str, Any])
    """Added to the answer of the token endpoint."""
    sign: "Callable[[Provider, dict[str, Any]], str] | None" = None
    is_public: bool = False
    """Whether the client has no secret."""
    is_down: bool = False
    ill: "dict[str, Callable[[BaseHTTPRequestHandler], None]]" = field(
        default_factory=dict[str, "Callable[[BaseHTTPRequestHandler], None]"]
    )
    """Paths, and what writes an answer there that is not the provider's own."""
    asked: list[str] = field(default_factory=list[str])
    """The paths of all requests."""
    given: list[str] = field(default_factory=list[str])
    """Codes and tokens, which may be in no log."""
    codes: dict[str, _Issued] = field(default_factory=dict[str, _Issued])

    def describe(self) -> dict[str, Any]:
        """The discovery document."""
        return {
            "issuer": self.issuer,
            "authorization_endpoint": f"{self.issuer}/authorize",
            "token_endpoint": f"{self.issuer}/token",
            "jwks_uri": f"{self.issuer}/jwks",
            "userinfo_endpoint": f"{self.issuer}/userinfo",
            "end_session_endpoint": f"{self.issuer}/leave",
            "id_token_signing_alg_values_supported": ["RS256"],
            **self.metadata,
        }

    def authorize(self, query: dict[str, str]) -> str:
        """Sign the person in at once; return where the browser goes."""
        code = secrets.token_urlsafe(24)
        self.given.append(code)
        assert query["code_challenge_method"] == "S256"
        assert query["client_id"] == CLIENT_ID
        uri = query["redirect_uri"]
        self.codes[code] = _Issued(query["nonce"], query["code_challenge"], uri)
        answer = {"code": code, "state": query["state"], "iss": self.issuer, **self.answer}
        return f"{uri}?{urlencode({name: text for name, text in answer.items() if text})}"

    def redeem(self, form: dict[str, str], authorization: str) -> tuple[int, dict[str, Any]]:
        """Exchange a code, once, for the client and the verifier that it was issued for."""
        credentials = f"{CLIENT_ID}:{quote_plus(SECRET)}".encode()
        expected = "" if self.is_public else f"Basic {b64encode(credentials).decode()}"
        if authorization != expected:
            return 401, {"error": "invalid_client"}
        issued = self.codes.pop(form["code"], None)
        digest = hashlib.sha256(form["code_verifier"].encode()).digest()
        challenge = urlsafe_b64encode(digest).rstrip(b"=").decode()
        if not issued or (issued.challenge, issued.redirect_uri) != (
            challenge,
            form["redirect_uri"],
        ):
            return 400, {"error": "invalid_grant"}
        token = secrets.token_urlsafe(24)
        id_token = (self.sign or sign)(self, self.to_claims(issued.nonce))
        self.given += [token, id_token]
        tokens = {"access_token": token, "token_type": "Bearer", "id_token": id_token}
        return 200, tokens | self.tokens

    def wait_until_asked(self, path: str, times: int = 1) -> None:
        """Wait for this number of requests."""
        wait_until(lambda: self.asked.count(path) >= times, f"{times} requests for {path}")

    def to_claims(self, nonce: str) -> dict[str, Any]:
        """The claims of an ID token."""
        now = int(time.time())
        claims = {
            "iss": self.issuer,
            "aud": CLIENT_ID,
            "iat": now,
            "exp": now + 300,
            "nonce": nonce,
            **self.person,
            **self.claims,
        }
        return {name: value for name, value in claims.items() if value is not None}


def sign(provider: Provider, claims: dict[str, Any]) -> str:
    """Sign as it should be."""
    return jwt.encode({"alg": "RS256", "kid": provider.key.kid}, claims, provider.key)


def sign_text(provider: Provider, claims: dict[str, Any]) -> str:
    """Sign claims that no UTF-8 has: half of a character, as JSON can write it."""
    payload = json.dumps(claims).encode()
    registry = jws.JWSRegistry(algorithms=["RS256"])
    header = {"alg": "RS256", "kid": provider.key.kid}
    return jws.serialize_compact(header, payload, provider.key, registry=registry)


@contextmanager
def spoilt_provider() -> Generator[Provider]:
    """A provider that a test can spoil."""
    server = _Server(("127.0.0.1", 0), _Handler)
    provider = Provider(f"http://localhost:{server.server_port}")
    server.provider = provider
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    try:
        yield provider
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


class _Server(ThreadingHTTPServer):
    provider: Provider


class _Handler(BaseHTTPRequestHandler):
    @property
    def provider(self) -> Provider:
        assert isinstance(self.server, _Server)
        return self.server.provider

    def do_GET(self) -> None:
        url = urlsplit(self.path)
        self.provider.asked.append(url.path)
        if url.path in self.provider.ill:
            self.provider.ill[url.path](self)
        elif self.provider.is_down:
            self._send(500, {})
        elif url.path == "/authorize":
            self.send_response(303)
            self.send_header("Location", self.provider.authorize(dict(parse_qsl(url.query))))
            self.end_headers()
        elif url.path == "/jwks":
            own = self.provider.key.as_dict(private=False)
            self._send(200, {"keys": self.provider.published or [own]})
        elif url.path == "/userinfo":
            more = self.provider.userinfo
            self._send(404 if more is None else 200, more or {})
        else:
            self._send(200, self.provider.describe())

    def do_POST(self) -> None:
        self.provider.asked.append(self.path)
        if self.path in self.provider.ill:
            self.provider.ill[self.path](self)
            return
        body = self.rfile.read(int(self.headers["Content-Length"])).decode()
        form = {name: values[0] for name, values in parse_qs(body).items()}
        self._send(*self.provider.redeem(form, self.headers.get("Authorization", "")))

    def _send(self, status: int, document: dict[str, Any]) -> None:
        body = json.dumps(document).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_request(self, code: int | str = "-", size: int | str = "-") -> None:
        """Print nothing."""
