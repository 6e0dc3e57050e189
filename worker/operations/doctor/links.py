"""Links: whether the way to a server is encrypted, as far as its URL says."""

from dataclasses import dataclass
from ipaddress import ip_address
from urllib.parse import urlsplit

from publish_worker_client.servers.database_url import read_url
from publish_worker_client.servers.redis_url import SCHEMES, read_redis_url
from worker.operations.doctor.findings import Finding, ok, warning
from worker.runtime.broker_url import AMQP_SCHEMES

CHECKED = ("verify-ca", "verify-full")
"""The `sslmode` with which libpq checks the server's certificate."""
DATABASE_TLS = "add ?sslmode=verify-full&sslrootcert=system to DATABASE_URL"
UNENCRYPTED = "Passwords and data cross the network in the clear"


@dataclass(frozen=True, kw_only=True)
class Link:
    """The way to a server."""

    setting: str
    hosts: tuple[str, ...]
    """Empty: a socket of this machine."""
    is_encrypted: bool
    is_checked: bool = True
    """Whether the server must prove who it is."""

    @property
    def remote(self) -> tuple[str, ...]:
        """The hosts that are not this machine."""
        return tuple(host for host in self.hosts if not is_local(host))


def is_local(host: str) -> bool:
    """Whether a host is this machine: a socket, or the loopback interface."""
    if not host or host.startswith(("/", "@")) or host == "localhost":
        return True
    try:
        return ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def read_database_link(url: str, *, is_encrypted: bool) -> Link:
    """Return the link of DATABASE_URL; the session knows `is_encrypted`."""
    given = read_url(url)
    hosts = (given.get("host") or given.get("hostaddr") or "").split(",")
    return Link(
        setting="DATABASE_URL",
        hosts=tuple(hosts),
        is_encrypted=is_encrypted,
        is_checked=given.get("sslmode") in CHECKED,
    )


def read_redis_link(setting: str, url: str) -> Link:
    """Return the link of a URL of Redis, or of its sentinels."""
    read = read_redis_url(url)
    hosts = tuple(host for host, _ in read.sentinels) or (urlsplit(read.base).hostname or "",)
    return Link(setting=setting, hosts=hosts, is_encrypted=read.tls is not None)


def read_broker_link(setting: str, url: str) -> Link | None:
    """Return the link of a broker's URL; None for a transport that is not ours to judge."""
    scheme = url.partition("://")[0]
    if scheme in SCHEMES:
        return read_redis_link(setting, url)
    if scheme in AMQP_SCHEMES:
        hosts = tuple(urlsplit(each).hostname or "" for each in url.split(";"))
        return Link(setting=setting, hosts=hosts, is_encrypted=scheme == "amqps")
    return None


def assess_link(link: Link) -> Finding:
    """Return the finding on a link."""
    remote = ", ".join(link.remote)
    if not remote:
        return ok("tls", f"{link.setting}: a server on this machine.")
    if not link.is_encrypted:
        detail = f"{link.setting}: {UNENCRYPTED} to {remote}."
        return warning("tls", detail, f"Unless that network is yours alone, {_advise(link)}.")
    if not link.is_checked:
        detail = f"{link.setting}: encrypted to {remote}, but its certificate is not checked."
        return warning("tls", detail, f"To be safe from an impostor, {DATABASE_TLS}.")
    return ok("tls", f"{link.setting}: encrypted to {remote}, and its certificate is checked.")


def _advise(link: Link) -> str:
    if link.setting == "DATABASE_URL":
        return DATABASE_TLS
    scheme = "amqps://" if link.setting == "AMQP_URL" else "rediss:// (sentinels: ssl=true)"
    return f"use {scheme} in {link.setting}"
