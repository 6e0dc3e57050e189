"""The identity provider as a client sees it: where to sign in, who has signed in, where to leave.

It is asked only when a person signs in: the API starts, and is ready, without it.
"""

import asyncio
import ssl
import time
from collections.abc import Callable
from typing import Any, TypeVar
from urllib.parse import quote_plus, urlencode, urlsplit

import certifi
import httpx2
import structlog
from authlib.integrations.base_client import OAuthError
from authlib.integrations.httpx_client import AsyncOAuth2Client
from joserfc.errors import BadSignatureError, InvalidKeyIdError, JoseError
from joserfc.jwk import KeySet

from worker.api.admission import MIB, Limits, UsageAccount
from worker.api.oidc.bounded_answers import CLIENT_OPTIONS
from worker.api.oidc.discovery import MALFORMED, SECONDS, Discovery, Metadata, explain
from worker.api.oidc.id_token import (
    Expected,
    choose_algorithms,
    read_groups,
    read_name,
    read_session,
    read_subject,
    verify,
)
from worker.api.oidc.logout_token import verify_logout
from worker.api.oidc.refusals import to_invalid, to_unreachable
from worker.api.oidc.userinfo import complete
from worker.operations.open_sessions import ProviderLogout
from worker.operations.people import ProviderIdentity, SignInAttempt
from worker.runtime.settings import Settings

T = TypeVar("T")
BASIC, POST = "client_secret_basic", "client_secret_post"
CALLBACK = "/console/sign-in/oidc/callback"
LIMITS = Limits(
    owner="Everyone who signs in here", requests=50, body_bytes=0, per_second=10, burst=100
)
"""Each request asks the provider, or writes a row, for a stranger."""
LOGOUT_LIMITS = Limits(
    owner="The identity provider", requests=50, body_bytes=16 * MIB, per_second=50, burst=500
)
"""Of log-outs at the provider, which strangers can also send."""

log: structlog.stdlib.BoundLogger = structlog.stdlib.get_logger(__name__)


class IdentityProvider:
    """One provider and our client there, as the settings name them."""

    def __init__(self, settings: Settings) -> None:
        self._issuer = settings.oidc_issuer or ""
        self._client_id = settings.oidc_client_id or ""
        secret = settings.oidc_client_secret
        self._secret = secret.get_secret_value() if secret else None
        self._scopes = settings.oidc_scopes
        self._groups_claim = settings.oidc_groups_claim
        self._base_url = settings.public_base_url.rstrip("/")
        self.account = UsageAccount(LIMITS, time.monotonic)
        self.logout_account = UsageAccount(LOGOUT_LIMITS, time.monotonic)
        self._context = ssl.create_default_context()  # reads files: once, before the first request
        self._context.load_verify_locations(certifi.where())  # images may have no authorities
        self._discovery = Discovery(self._issuer, self._context)

    @property
    def name(self) -> str:
        """What pages call it: its host."""
        return urlsplit(self._issuer).hostname or self._issuer

    async def find_sign_in_url(self, attempt: SignInAttempt) -> str:
        """Return where the browser signs in. Raises SignInFailed."""
        metadata = await self._discovery.find_metadata()
        async with self._open_client(metadata) as client:
            url, _ = client.create_authorization_url(
                metadata.authorization_endpoint,
                state=attempt.state,
                nonce=attempt.nonce,
                code_verifier=attempt.code_verifier,
            )
        return url

    async def identify(
        self, attempt: SignInAttempt, code: str, issuer: str | None
    ) -> ProviderIdentity:
        """Return who has signed in, for the code of a callback. Raises SignInFailed.

        `issuer` is the callback's parameter `iss` (RFC 9207): a code of another provider is not
        sent to this one.
        """
        metadata = await self._discovery.find_metadata()
        self.check_issuer(metadata, issuer)
        async with self._open_client(metadata) as client:
            try:
                async with asyncio.timeout(SECONDS):
                    token = await self._redeem(client, metadata, attempt, code)
                    claims = await self._verify(metadata, attempt, token)
                    url, access_token = metadata.userinfo_endpoint, token.get("access_token")
                    if url and access_token and self._groups_claim not in claims:
                        claims = await complete(client, url, access_token, claims)
            except (httpx2.HTTPError, httpx2.InvalidURL, TimeoutError) as error:
                log.warning("identity_provider.unreachable", error=explain(error))
                raise to_unreachable(error) from error
        return ProviderIdentity(
            issuer=self._issuer,
            subject=read_subject(claims),
            name=read_name(claims),
            groups=read_groups(claims, self._groups_claim),
            session=read_session(claims),
        )

    async def read_logout(self, text: str) -> ProviderLogout:
        """Return what a logout token says has ended at the provider. Raises SignInFailed."""

        def check(keys: KeySet, algorithms: list[str]) -> ProviderLogout:
            return verify_logout(
                text, keys, algorithms, issuer=self._issuer, client_id=self._client_id
            )

        metadata = await self._discovery.find_metadata()
        try:
            async with asyncio.timeout(SECONDS):
                return await self._check(metadata, "logout_token", check)
        except TimeoutError as error:
            raise to_unreachable(error) from error

    async def find_sign_out_url(self) -> str | None:
        """Return where a person can leave the provider too. None: it offers no such page.

        Raises SignInFailed.
        """
        metadata = await self._discovery.find_metadata()
        if metadata.end_session_endpoint is None:
            return None
        query = urlencode(
            {
                "client_id": self._client_id,
                "post_logout_redirect_uri": f"{self._base_url}/console/sign-in",
            }
        )
        joint = "&" if urlsplit(metadata.end_session_endpoint).query else "?"
        return f"{metadata.end_session_endpoint}{joint}{query}"

    def check_issuer(self, metadata: Metadata, issuer: str | None) -> None:
        """Raise SignInFailed for a callback that is not this provider's."""
        is_needed = metadata.authorization_response_iss_parameter_supported
        if issuer != self._issuer and (issuer is not None or is_needed):
            raise to_invalid("issuer: the callback names another provider")

    def _open_client(self, metadata: Metadata) -> AsyncOAuth2Client:
        """Return a client for one sign-in: it keeps that person's token."""
        client_id, secret, method = self._client_id, self._secret, "none"
        if secret is not None:
            offered = metadata.token_endpoint_auth_methods_supported
            method = POST if BASIC not in offered and POST in offered else BASIC
        return AsyncOAuth2Client(
            client_id=client_id,
            client_secret=secret,
            token_endpoint_auth_method=method,
            scope=self._scopes,
            redirect_uri=f"{self._base_url}{CALLBACK}",
            code_challenge_method="S256",
            verify=self._context,
            **CLIENT_OPTIONS,
        )

    async def _redeem(
        self, client: Any, metadata: Metadata, attempt: SignInAttempt, code: str
    ) -> dict[str, Any]:
        """Exchange a code for tokens. The stubs leave the client's coroutines untyped."""
        auth: Any = None
        if client.token_endpoint_auth_method == BASIC:
            # RFC 6749, 2.3.1: both are form-encoded first, which the library leaves out.
            auth = httpx2.BasicAuth(quote_plus(self._client_id), quote_plus(self._secret or ""))
        try:
            token: Any = await client.fetch_token(
                metadata.token_endpoint,
                grant_type="authorization_code",
                code=code,
                code_verifier=attempt.code_verifier,
                redirect_uri=client.redirect_uri,
                auth=auth,
            )
            return dict(token)
        except OAuthError as error:
            raise to_invalid(f"token: {str(error.error)[:60]!r}") from None
        except MALFORMED as error:  # the answer is not what it should be
            raise to_unreachable(error) from None

    async def _verify(
        self, metadata: Metadata, attempt: SignInAttempt, token: dict[str, Any]
    ) -> dict[str, Any]:
        """Return the claims of the ID token."""
        text, access_token = token.get("id_token"), token.get("access_token")
        if not isinstance(text, str):
            raise to_invalid("id_token: there is none")
        if access_token is not None and not _is_token(access_token):
            raise to_invalid("access_token: it is not a text of visible characters")
        expected = Expected(
            issuer=self._issuer,
            client_id=self._client_id,
            nonce=attempt.nonce,
            access_token=access_token,
        )
        return await self._check(
            metadata, "id_token", lambda keys, names: verify(text, keys, names, expected)
        )

    async def _check(
        self, metadata: Metadata, kind: str, check: Callable[[KeySet, list[str]], T]
    ) -> T:
        """Check a token; again with newer keys, if those that are kept do not fit."""
        algorithms = choose_algorithms(metadata.id_token_signing_alg_values_supported)
        try:
            keys = await self._discovery.find_keys(metadata)
            try:
                return check(keys, algorithms)
            except (InvalidKeyIdError, BadSignatureError):
                keys = await self._discovery.find_keys(metadata, newer=True)
                return check(keys, algorithms)
        except (JoseError, *MALFORMED) as error:
            raise to_invalid(f"{kind}: {type(error).__name__}") from None


def _is_token(value: object) -> bool:
    """Whether an access token can be in a header (RFC 6749, A.12)."""
    return isinstance(value, str) and value.isascii() and value.isprintable()
