"""The userinfo endpoint: some providers give a person's groups only there."""

from typing import Any

import httpx2

from worker.api.oidc.discovery import MALFORMED
from worker.api.oidc.refusals import to_invalid


async def complete(
    client: Any, url: str, access_token: str, claims: dict[str, Any]
) -> dict[str, Any]:
    """Return the claims and what only userinfo says; a claim of the ID token stays as it is.

    Raises SignInFailed, and httpx2.HTTPStatusError if the provider fails: without its groups, a
    person would be told to have no access.
    """
    answer = await client.request(
        "GET", url, withhold_token=True, headers={"Authorization": f"Bearer {access_token}"}
    )
    if answer.status_code >= httpx2.codes.INTERNAL_SERVER_ERROR:
        answer.raise_for_status()
    if answer.status_code != httpx2.codes.OK:
        return claims
    try:
        more: Any = answer.json()
    except MALFORMED:  # a signed answer, which is not asked for
        return claims
    if not isinstance(more, dict) or more.get("sub") != claims.get("sub"):  # pyright: ignore[reportUnknownMemberType]
        raise to_invalid("userinfo: it is about another person")
    return {**more, **claims}
