"""Logout tokens of back-channel log-out: verify them, and read what has ended at the provider."""

from collections.abc import Mapping, Sequence
from typing import Any

from joserfc import jwt
from joserfc.errors import ClaimError
from joserfc.jwk import KeySet

from worker.api.oidc.id_token import LEEWAY_SECONDS, TokenRegistry, read_session, read_subject
from worker.api.oidc.refusals import to_invalid
from worker.operations.open_sessions import ProviderLogout

EVENT = "http://schemas.openid.net/event/backchannel-logout"
TYPES = ("logout+jwt", "application/logout+jwt", "jwt")
"""Of the header, if it has one: older providers write the general one."""
MAX_AGE_SECONDS = 300
"""A token that was recorded on its way can end sessions again for this time, and no longer."""


def verify_logout(
    text: str, keys: KeySet, algorithms: Sequence[str], *, issuer: str, client_id: str
) -> ProviderLogout:
    """Return what has ended (OpenID Connect Back-Channel Logout 1.0, section 2.6).

    Raises joserfc's InvalidKeyIdError and BadSignatureError, which may mean that the provider has
    newer keys, and SignInFailed.
    """
    registry = TokenRegistry(algorithms=algorithms, strict_check_header=False)
    token = jwt.decode(text, keys, registry=registry)
    if str(token.header.get("typ", "jwt")).lower() not in TYPES:
        raise to_invalid("logout_token: typ")
    _check_claims(token.claims, issuer, client_id)
    session = read_session(token.claims)
    subject = read_subject(token.claims) if "sub" in token.claims else None
    if subject is None and session is None:
        raise to_invalid("logout_token: sub and sid are missing")
    return ProviderLogout(issuer=issuer, subject=subject, session=session)


def _check_claims(claims: dict[str, Any], issuer: str, client_id: str) -> None:
    """Raise SignInFailed unless it is a logout token for us, and young."""
    expected = jwt.JWTClaimsRegistry(
        leeway=LEEWAY_SECONDS,
        iss={"essential": True, "value": issuer},
        aud={"essential": True, "value": client_id},
        iat={"essential": True},
        jti={"essential": True},
        events={"essential": True},
    )
    try:
        expected.validate(claims)
    except ClaimError as error:
        raise to_invalid(f"logout_token: {error}") from None
    events = claims["events"]
    if not isinstance(events, Mapping) or not isinstance(events.get(EVENT), Mapping):  # pyright: ignore[reportUnknownMemberType]
        raise to_invalid("logout_token: events")
    if "nonce" in claims:  # an ID token has one
        raise to_invalid("logout_token: nonce")
    if expected.now > claims["iat"] + MAX_AGE_SECONDS + LEEWAY_SECONDS:
        raise to_invalid("logout_token: iat")
