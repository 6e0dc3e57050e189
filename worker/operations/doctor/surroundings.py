"""Findings on what is around the servers: links in pages, development settings, OIDC, the disk."""

import json
import shutil
from collections.abc import Iterator, Sequence
from http.client import HTTPException
from pathlib import Path
from urllib.error import URLError
from urllib.parse import urlsplit
from urllib.request import urlopen

from worker.operations.doctor.findings import Finding, error, ok, warning
from worker.operations.doctor.links import Link, is_local
from worker.runtime.settings import Settings

FULL = 0.05
"""The share of a disk that must be free."""
LONGEST_DOCUMENT = 1_000_000
"""Bytes."""
PROVIDER = "identity provider"


def assess_settings(settings: Settings, links: Sequence[Link]) -> Iterator[Finding]:
    """Yield the findings on settings that fit only development; `links` lead to the servers."""
    is_deployed = any(link.remote for link in links)
    base = urlsplit(settings.public_base_url)
    if is_deployed and is_local(base.hostname or ""):
        detail = f"PUBLIC_BASE_URL is {settings.public_base_url}: no reader can open such links."
        yield warning("links", detail, "Set it to the site that serves the video pages.")
    elif base.scheme != "https" and not is_local(base.hostname or ""):
        detail = f"PUBLIC_BASE_URL is {settings.public_base_url}, without TLS."
        yield warning("links", detail, "Use https, if the site has it.")
    else:
        yield ok("links", f"Video pages are at {settings.public_base_url}.")
    if is_deployed and settings.webhooks_allow_private:
        detail = "WEBHOOKS_ALLOW_PRIVATE is on: webhooks reach private addresses, without TLS."
        yield warning("webhooks", detail, "Leave it off outside of development.")


def examine_provider(issuer: str, seconds: float) -> Finding:
    """Read the provider's discovery document, as a sign-in does."""
    url = f"{issuer.rstrip('/')}/.well-known/openid-configuration"
    remedy = "Check OIDC_ISSUER, and the way from this host to the provider."
    try:
        with urlopen(url, timeout=seconds) as answer:  # noqa: S310 - http or https: settings.py
            document = json.loads(answer.read(LONGEST_DOCUMENT))
    except (URLError, HTTPException, OSError, ValueError) as failure:
        return error(PROVIDER, f"{url} cannot be read: {failure}.", remedy)
    named = document.get("issuer") if isinstance(document, dict) else None  # pyright: ignore[reportUnknownMemberType, reportUnknownVariableType]
    if named != issuer:
        detail = f"{url} is of the issuer {named}, and OIDC_ISSUER is {issuer}."
        return error(PROVIDER, detail, "Set OIDC_ISSUER to exactly what the provider calls itself.")
    return ok(PROVIDER, f"{issuer} answers.")


def assess_disk(directory: Path) -> Finding:
    """Return the finding on the disk of the embedded engines' data."""
    there = next(each for each in (directory, *directory.parents) if each.exists())
    usage = shutil.disk_usage(there)
    detail = f"{directory}: {usage.free / 2**30:,.1f} GiB free ({usage.free / usage.total:.0%})."
    if usage.free < FULL * usage.total:
        return warning("disk", detail, "Free some space, or move the data (DATA_DIR).")
    return ok("disk", detail)
