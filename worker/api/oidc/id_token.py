"""ID tokens: verify the signature and the claims, and read who has signed in."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from authlib.oidc.core import CodeIDToken
from joserfc import jwt
from joserfc.errors import ExpiredTokenError, InvalidClaimError, JoseError
from joserfc.jwk import JWKRegistry, Key, KeySet
from joserfc.jws import JWSRegistry

from worker.api.oidc.bounded_answers import MAX_BYTES
from worker.api.oidc.refusals import to_invalid, to_wrong_clock

ALGORITHMS = (
    "RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "Ed25519",
    "EdDSA",
)  # fmt: skip
"""Signatures with a key pair. Never `none`, nor HMAC: its key would be the client's secret."""
LEEWAY_SECONDS = 60
"""How far the clocks may differ."""
MAX_KEYS = 100
"""Of a provider: the event loop reads them all."""
MAX_NUMBER = 4_096
"""Characters of a key's number: more than 16,384 bits are not verified with, but take long."""
MAX_NAME = 200
MAX_SUBJECT = 255
ANGLES = str.maketrans("<>", "  ")
"""What encloses an address: a name with one must not look like a verified one."""
TIMES = ("iat", "nbf", "exp")


def choose_algorithms(advertised: Iterable[str]) -> list[str]:
    """Return the algorithms that are accepted from a provider that advertises these.

    Raises SignInFailed if there is none.
    """
    chosen = [name for name in ALGORITHMS if name in set(advertised)]
    if not chosen:  # the library takes an empty list as "all"
        raise to_invalid("algorithms: the provider offers no signature with a key pair")
    return chosen


def read_keys(document: Mapping[str, Any]) -> KeySet:
    """Return the keys for signatures of a JWK Set; keys of other kinds are ignored.

    Raises SignInFailed if there are too many.
    """
    listed = document.get("keys")
    if isinstance(listed, list) and len(listed) > MAX_KEYS:  # pyright: ignore[reportUnknownArgumentType]
        raise to_invalid(f"keys: there are more than {MAX_KEYS}")
    keys = [_read_key(each) for each in listed] if isinstance(listed, list) else []  # pyright: ignore[reportUnknownVariableType, reportUnknownArgumentType]
    return KeySet([key for key in keys if key is not None])


def _read_key(data: object) -> Key | None:
    if not isinstance(data, dict) or data.get("kty") == "oct" or data.get("use", "sig") != "sig":  # pyright: ignore[reportUnknownMemberType]
        return None
    if any(len(str(data.get(name))) > MAX_NUMBER for name in ("n", "e", "x", "y")):  # pyright: ignore[reportUnknownMemberType, reportUnknownArgumentType]
        return None
    try:
        return JWKRegistry.import_key(data)  # pyright: ignore[reportUnknownArgumentType]
    except (JoseError, ValueError, TypeError):
        return None


class TokenRegistry(JWSRegistry):
    """How long the parts of a token may be, in characters.

    The library's own limits (512, 128,000 and 1,024) are those of tokens in a URL: they refuse a
    person with many groups, a chain of certificates and a key of 8,192 bits.
    """

    max_header_length = 16_384
    max_payload_length = MAX_BYTES
    max_signature_length = 4_096


@dataclass(frozen=True, slots=True, kw_only=True)
class Expected:
    """What the ID token of a sign-in must say."""

    issuer: str
    client_id: str
    nonce: str
    access_token: str | None
    """The one that came with it: `at_hash`, if there is one, is its digest."""


def verify(
    text: str, keys: KeySet, algorithms: Sequence[str], expected: Expected
) -> dict[str, Any]:
    """Return the claims of an ID token that was issued by this provider, for us, for this sign-in.

    Raises joserfc's InvalidKeyIdError and BadSignatureError, which may mean that the provider has
    newer keys, and SignInFailed.
    """
    registry = TokenRegistry(algorithms=algorithms, strict_check_header=False)
    token = jwt.decode(text, keys, registry=registry)
    claims = CodeIDToken(
        token.claims,
        token.header,
        {
            "iss": {"essential": True, "value": expected.issuer},
            "aud": {"essential": True, "value": expected.client_id},
            "sub": {"essential": True},
        },
        asdict(expected),
    )
    try:
        claims.validate(leeway=LEEWAY_SECONDS)
    except ExpiredTokenError:
        raise to_wrong_clock() from None
    except InvalidClaimError as error:
        raise to_wrong_clock() if error.claim in TIMES else to_invalid(str(error)) from None
    except JoseError as error:
        raise to_invalid(str(error)) from None
    return token.claims


def read_subject(claims: Mapping[str, Any]) -> str:
    """Return the provider's own id of the person. Raises SignInFailed."""
    subject = claims.get("sub")
    if isinstance(subject, str) and 0 < len(subject) <= MAX_SUBJECT and _is_storable(subject):
        return subject
    raise to_invalid("sub: it is not a text of 1 to 255 characters")


def read_session(claims: Mapping[str, Any]) -> str | None:
    """Return the provider's id of its session (`sid`), if it gave one. Raises SignInFailed."""
    session = claims.get("sid")
    if session is None:
        return None
    if isinstance(session, str) and 0 < len(session) <= MAX_SUBJECT and _is_storable(session):
        return session
    raise to_invalid("sid: it is not a text of 1 to 255 characters")


def _is_storable(text: str) -> bool:
    """Whether the database takes it: JSON may also have half of a character, or NUL."""
    return "\x00" not in text and not any("\ud800" <= each <= "\udfff" for each in text)


def read_name(claims: Mapping[str, Any]) -> str:
    """Return what a person is called, for people: the name and the email address, if given."""
    texts = {
        name: " ".join("".join(filter(str.isprintable, value)).split())
        for name, value in claims.items()
        if isinstance(value, str)
    }
    name = texts.get("name") or texts.get("preferred_username")
    if name and "@" in name:
        name = name.translate(ANGLES).strip()
    email = texts.get("email") if claims.get("email_verified") is not False else None
    shown = f"{name} <{email}>" if name and email and name != email else name or email
    return (shown or texts.get("sub", ""))[:MAX_NAME]


def read_groups(claims: Mapping[str, Any], claim: str) -> frozenset[str]:
    """Return a person's groups: the texts in a claim that is a list, or one text."""
    value = claims.get(claim)
    listed: list[Any] = value if isinstance(value, list) else [value]  # pyright: ignore[reportUnknownVariableType]
    return frozenset(each for each in listed if isinstance(each, str))
