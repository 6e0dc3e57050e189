"""What a provider says about itself, and its keys: fetched when first needed, and kept."""

import asyncio
import ssl
import time
from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit

import httpx2
import structlog
from joserfc.jwk import KeySet
from pydantic import BaseModel, ConfigDict, ValidationError

from worker.api.oidc.bounded_answers import CLIENT_OPTIONS
from worker.api.oidc.id_token import read_keys
from worker.api.oidc.refusals import SignInFailed, to_invalid, to_unreachable

SECONDS = 10.0
"""The longest wait for what one sign-in asks of the provider."""
KEPT_SECONDS = 3600.0
"""How long the document and the keys are used before they are fetched again."""
RETRY_SECONDS = 5.0
"""After a failure, sign-ins fail at once for this time; keys are not fetched more often either."""

MALFORMED = (ValueError, TypeError, RecursionError)
"""What reading an answer that is not as the standard says may raise."""

log: structlog.stdlib.BoundLogger = structlog.stdlib.get_logger(__name__)


class Metadata(BaseModel):
    """A provider's own description (OpenID Connect Discovery 1.0): the part that is used."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    issuer: str
    authorization_endpoint: str
    token_endpoint: str
    jwks_uri: str
    userinfo_endpoint: str | None = None
    end_session_endpoint: str | None = None
    id_token_signing_alg_values_supported: tuple[str, ...] = ("RS256",)
    token_endpoint_auth_methods_supported: tuple[str, ...] = ("client_secret_basic",)
    authorization_response_iss_parameter_supported: bool = False

    def check(self, issuer: str) -> None:
        """Raise SignInFailed unless the document is this provider's, and as safe as its URL."""
        if self.issuer != issuer:
            raise to_invalid(f"discovery: the provider calls itself {self.issuer[:200]!r}")
        scheme = urlsplit(issuer).scheme
        endpoints = (
            self.authorization_endpoint,
            self.token_endpoint,
            self.jwks_uri,
            self.userinfo_endpoint,
            self.end_session_endpoint,
        )
        for each in endpoints:
            if each is not None and not _is_usable(each, {"https", scheme}):
                raise to_invalid("discovery: an endpoint is not an https URL")


def _is_usable(text: str, schemes: set[str]) -> bool:
    try:
        url = urlsplit(text)
        is_whole = bool(url.hostname) and url.port != 0
    except ValueError:
        return False
    is_plain = text.isascii() and text.isprintable() and not {" ", "\\"}.intersection(text)
    return is_whole and url.scheme in schemes and is_plain


class Discovery:
    """The document and the keys of one provider. Several requests at once fetch them once."""

    def __init__(
        self, issuer: str, context: ssl.SSLContext, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._issuer = issuer
        self._context = context
        self._clock = clock
        self._metadata: Metadata | None = None
        self._metadata_at = 0.0
        self._keys: KeySet | None = None
        self._keys_at = 0.0
        self._failed_at: float | None = None
        self._fetching = asyncio.Lock()

    async def find_metadata(self) -> Metadata:
        """Return the document; an old one while another request fetches it. Raises SignInFailed."""
        kept = self._metadata
        if kept and (self._is_young(self._metadata_at) or self._fetching.locked()):
            return kept
        async with self._fetching:
            kept = self._metadata
            if kept is None or not self._is_young(self._metadata_at):
                try:
                    kept = self._metadata = await self._fetch_metadata()
                    self._metadata_at = self._clock()
                except SignInFailed:
                    if kept is None:
                        raise
                    # An old document is better than none; the next sign-in tries again.
            return kept

    async def find_keys(self, metadata: Metadata, *, newer: bool = False) -> KeySet:
        """Return the keys. `newer`: those that are kept do not fit. Raises SignInFailed."""
        kept_seconds = RETRY_SECONDS if newer else KEPT_SECONDS
        if self._keys and self._is_young(self._keys_at, kept_seconds):
            return self._keys
        async with self._fetching:
            if self._keys is None or not self._is_young(self._keys_at, kept_seconds):
                self._keys = read_keys(await self._fetch(metadata.jwks_uri))
                self._keys_at = self._clock()
            return self._keys

    def _is_young(self, fetched_at: float, seconds: float | None = None) -> bool:
        return self._clock() <= fetched_at + (KEPT_SECONDS if seconds is None else seconds)

    async def _fetch_metadata(self) -> Metadata:
        document = await self._fetch(f"{self._issuer.rstrip('/')}/.well-known/openid-configuration")
        try:
            metadata = Metadata.model_validate(document)
        except ValidationError as error:
            names = sorted({str(each["loc"][0]) for each in error.errors()})
            raise to_invalid(f"discovery: {', '.join(names)} are missing or not valid") from None
        metadata.check(self._issuer)
        return metadata

    async def _fetch(self, url: str) -> dict[str, Any]:
        """Return the JSON object at a URL. Raises SignInFailed."""
        if self._failed_at is not None and self._clock() < self._failed_at + RETRY_SECONDS:
            raise to_unreachable(TimeoutError())
        try:
            async with asyncio.timeout(SECONDS), self._open_client() as client:
                answer = await client.get(url, headers={"Accept": "application/json"})
                answer.raise_for_status()
                document = answer.json()
        except (httpx2.HTTPError, httpx2.InvalidURL, TimeoutError, *MALFORMED) as error:
            self._failed_at = self._clock()
            log.warning("identity_provider.unreachable", url=url, error=explain(error))
            raise to_unreachable(error) from error
        except asyncio.CancelledError:  # the time for the whole sign-in is over
            self._failed_at = self._clock()
            raise
        self._failed_at = None
        if not isinstance(document, dict):
            raise to_invalid("discovery: the answer is not a JSON object")
        return document  # pyright: ignore[reportUnknownVariableType]

    def _open_client(self) -> httpx2.AsyncClient:
        return httpx2.AsyncClient(verify=self._context, **CLIENT_OPTIONS)


def explain(error: BaseException) -> str:
    """Return an error in a few words, without the body of an answer."""
    return f"{type(error).__name__}: {str(error).partition(chr(10))[0][:200]}"
