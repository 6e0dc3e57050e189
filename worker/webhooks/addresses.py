"""Allowed addresses: public ones over https, unless the operator allows private ones.

A URL is checked when an endpoint is registered, and again at each connection, because a name may
resolve to another address by then. Refused are addresses that IANA's special-purpose registries do
not list as globally reachable, and the metadata services of clouds.
"""

import re
import socket
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Any
from urllib.parse import urlsplit

import idna

Address = IPv4Address | IPv6Address
Resolve = Callable[[str, int], list[str]]

DEFAULT_PORTS = {"http": 80, "https": 443}
LONGEST_NAME = 253


def _networks(*spelt: str) -> tuple[IPv4Network | IPv6Network, ...]:
    return tuple(map(ip_network, spelt))


PRIVATE = _networks("10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16")
"""Networks that WEBHOOKS_ALLOW_PRIVATE allows."""
PRIVATE_6 = _networks("::1/128", "fc00::/7")
NEVER = _networks(
    "0.0.0.0/8",  # this host
    "168.63.129.16/32",  # Azure's platform, from inside
    "169.254.0.0/16",  # link-local, and the clouds' metadata
    "192.0.0.0/24",  # protocol assignments, Oracle's metadata
    "192.0.2.0/24",  # documentation
    "192.88.99.0/24",  # 6to4 relays
    "198.18.0.0/15",  # benchmarks
    "198.51.100.0/24",
    "203.0.113.0/24",
    "224.0.0.0/4",  # multicast
    "240.0.0.0/4",  # reserved, broadcast
)
NEVER_6 = _networks(
    "2001::/23",  # Teredo (which embeds an IPv4 address), ORCHID, benchmarks
    "2001:db8::/32",  # documentation
    "2002::/16",  # 6to4: embeds an IPv4 address
    "3fff::/20",  # documentation
)
GLOBAL_6 = IPv6Network("2000::/3")
"""The only allocated range of global unicast addresses."""
MAPPED = IPv6Network("::ffff:0:0/96")
NAT64 = IPv6Network("64:ff9b::/96")
"""The prefix of DNS64. Addresses in it, and mapped ones, count as the IPv4 address they embed."""

LOCAL_NAMES = ("localhost", "local", "localdomain", "internal", "intranet", "lan", "home.arpa")
_ENDS_IN_NUMBER = re.compile(r"(?:^|\.)(?:\d+|0[xX][0-9a-fA-F]*)$")
_LABEL = re.compile(r"(?!-)[a-z0-9_-]{1,63}(?<!-)")
_BLANK = re.compile(r"[\x00-\x20\x7f]")
_PRINTABLE = re.compile(r"[\x21-\x7e]*")


class AddressRefused(Exception):
    """The address is not allowed; the message gives the reason."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """The parts of a URL that a request needs."""

    scheme: str
    host: str
    """A name in lower-case ASCII, or an IP address without brackets."""
    port: int
    path: str
    """The path with the query."""

    @property
    def authority(self) -> str:
        """The value of the `Host` header."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == DEFAULT_PORTS[self.scheme] else f"{host}:{self.port}"


def check_url(url: str, *, allow_private: bool, resolve: Resolve | None = None) -> None:
    """Raise AddressRefused if a URL is not allowed; this looks up its name and may block.

    A name without an address passes: each connection looks it up again.
    """
    target = parse_url(url, allow_private=allow_private)
    try:
        found = (resolve or look_up)(target.host, target.port)
    except OSError:
        return
    check_addresses(found, allow_private=allow_private)


def parse_url(url: str, *, allow_private: bool) -> Target:
    """Parse a URL; raises AddressRefused for everything that needs no look-up."""
    if _BLANK.search(url):
        raise AddressRefused("The URL must not contain white space or control characters.")
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError as error:
        raise AddressRefused(f"The URL is not valid: {error}.") from error
    if parts.scheme not in DEFAULT_PORTS or (parts.scheme == "http" and not allow_private):
        raise AddressRefused("The URL must begin with https://.")
    if "@" in parts.netloc:
        raise AddressRefused("The URL must not contain a user name or a password.")
    if "#" in url:
        raise AddressRefused("The URL must not have a fragment: it would not be sent.")
    path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    if not host or port == 0 or "\\" in url or not _PRINTABLE.fullmatch(path):
        raise AddressRefused("The URL must have a host, and path and query percent-encoded.")
    return Target(
        scheme=parts.scheme,
        host=_parse_host(host, allow_private=allow_private),
        port=port or DEFAULT_PORTS[parts.scheme],
        path=path,
    )


def _parse_host(spelt: str, *, allow_private: bool) -> str:
    """Return the host in its canonical spelling; raises AddressRefused for unusual ones."""
    if ":" in spelt:
        return str(_parse_ip(spelt, allow_private=allow_private))
    name = _to_ascii(spelt)
    if name.endswith("."):
        raise AddressRefused("The host must not end in a dot.")
    if _ENDS_IN_NUMBER.search(name):
        return str(_parse_ip(name, allow_private=allow_private))
    labels = name.split(".")
    if len(name) > LONGEST_NAME or not all(map(_LABEL.fullmatch, labels)):
        raise AddressRefused(f"{spelt!r} is not a valid host name.")
    if not allow_private and (len(labels) == 1 or _is_local(name)):
        raise AddressRefused(f"{spelt!r} is a name of a local network.")
    return name


def _parse_ip(spelt: str, *, allow_private: bool) -> Address:
    try:
        address = ip_address(spelt)
    except ValueError as error:
        raise AddressRefused(f"{spelt!r} is not an IP address in its usual spelling.") from error
    if isinstance(address, IPv6Address) and address.scope_id is not None:
        raise AddressRefused("The host must not name a network interface.")
    check_addresses([str(address)], allow_private=allow_private)
    return address


def _to_ascii(name: str) -> str:
    """Convert a name to ASCII by IDNA 2008 with the mappings of browsers (UTS 46)."""
    if name.isascii():
        return name.lower()
    try:
        return idna.encode(name, uts46=True).decode()
    except idna.IDNAError as error:
        raise AddressRefused(f"{name!r} is not a valid host name: {error}.") from error


def _is_local(name: str) -> bool:
    return any(name == local or name.endswith(f".{local}") for local in LOCAL_NAMES)


def check_addresses(addresses: Iterable[str], *, allow_private: bool) -> None:
    """Raise AddressRefused if any of a name's addresses is not allowed."""
    for spelt in addresses:
        address = ip_address(spelt)
        if not is_allowed(address, allow_private=allow_private):
            raise AddressRefused(f"The host resolves to {address}, which is not a public address.")


def is_allowed(address: Address, *, allow_private: bool) -> bool:
    """Whether connections to an address are allowed."""
    if isinstance(address, IPv6Address):
        if address.scope_id is not None:
            return False
        if address in MAPPED or address in NAT64:
            return is_allowed(IPv4Address(int(address) & 0xFFFFFFFF), allow_private=allow_private)
        if any(address in network for network in PRIVATE_6):
            return allow_private
        return address in GLOBAL_6 and not any(address in network for network in NEVER_6)
    if any(address in network for network in PRIVATE):
        return allow_private
    return not any(address in network for network in NEVER)


def look_up(host: str, port: int) -> list[str]:
    """Return the addresses of a name; raises OSError if it has none."""
    found: list[Any] = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(sockaddr[0]) for *_, sockaddr in found))
