"""URLs of receivers: the rules that need no look-up, each with a text that names it."""

import re
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address
from urllib.parse import SplitResult, urlsplit

import idna

from worker.webhooks.addresses import (
    PRIVATE_RULE,
    Address,
    AddressRefused,
    check_address,
    parse_address,
)

DEFAULT_PORTS = {"http": 80, "https": 443}
LONGEST_NAME = 253
LOCAL_NAMES = ("localhost", "local", "localdomain", "internal", "intranet", "lan", "home.arpa")
_ENDS_IN_NUMBER = re.compile(r"(?:^|\.)(?:\d+|0[xX][0-9a-fA-F]*)$")
_LABEL = re.compile(r"(?!-)[a-z0-9_-]{1,63}(?<!-)")
_BLANK = re.compile(r"[\x00-\x20\x7f]")
_PRINTABLE = re.compile(r"[\x21-\x7e]*")
_AUTHORITY = re.compile(r"(?P<host>\[[^\[\]@]*\]|[^\[\]:@]*)(?::(?P<port>[0-9]{0,5}))?")
"""A host, or an address in brackets, and a port; nothing else, as the user name is refused before.
"""


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


def parse_url(url: str, *, allow_private: bool) -> Target:
    """Parse a URL; raises AddressRefused for everything that needs no look-up.

    No message repeats more of the URL than its scheme, host and port: the rest may be secret.
    """
    if _BLANK.search(url):
        raise AddressRefused("The URL must not contain white space or control characters.")
    try:
        parts = urlsplit(url)
    except ValueError:
        raise AddressRefused("The URL has no valid host.") from None
    _check_scheme(parts, allow_private=allow_private)
    if "@" in parts.netloc:
        raise AddressRefused("The URL must not contain a user name or a password.")
    if "#" in url:
        raise AddressRefused("The URL must not have a fragment: it would not be sent.")
    path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    if "\\" in url or not _PRINTABLE.fullmatch(path):
        raise AddressRefused("The path and the query of the URL must be percent-encoded.")
    host, port = _split_authority(parts.netloc)
    return Target(
        scheme=parts.scheme,
        host=_parse_host(host, allow_private=allow_private),
        port=port or DEFAULT_PORTS[parts.scheme],
        path=path,
    )


def _check_scheme(parts: SplitResult, *, allow_private: bool) -> None:
    if parts.scheme == "http" and not allow_private:
        raise AddressRefused(f"The URL must begin with https://. {PRIVATE_RULE}")
    if parts.scheme not in DEFAULT_PORTS or not parts.netloc:
        raise AddressRefused("The URL must begin with https:// and a host.")


def _split_authority(netloc: str) -> tuple[str, int | None]:
    found = _AUTHORITY.fullmatch(netloc)
    if found is None or not found["host"]:
        raise AddressRefused("The URL has no valid host, or its port is not a number.")
    port = int(found["port"]) if found["port"] else None
    if port is not None and not 1 <= port <= 65535:  # noqa: PLR2004 - the ports of TCP
        raise AddressRefused(f"The port is {port}; it must be between 1 and 65535.")
    return found["host"], port


def _parse_host(spelt: str, *, allow_private: bool) -> str:
    """Return the host in its canonical spelling; raises AddressRefused for unusual ones."""
    if spelt.startswith("["):
        return _parse_ip(spelt, IPv6Address, allow_private=allow_private)
    name = _to_ascii(spelt)
    if name.endswith("."):
        raise AddressRefused("The host must not end in a dot.")
    if _ENDS_IN_NUMBER.search(name):
        return _parse_ip(name, IPv4Address, allow_private=allow_private)
    labels = name.split(".")
    if len(name) > LONGEST_NAME or not all(map(_LABEL.fullmatch, labels)):
        raise AddressRefused(f"{spelt!r} is not a valid host name.")
    if not allow_private and (len(labels) == 1 or _is_local(name)):
        raise AddressRefused(f"{spelt!r} is a name of a local network. {PRIVATE_RULE}")
    return name


def _parse_ip(spelt: str, version: type[Address], *, allow_private: bool) -> str:
    address = parse_address(spelt.strip("[]"))
    if not isinstance(address, version):
        raise AddressRefused(f"{spelt!r} is not an IP address in its usual spelling.")
    if isinstance(address, IPv6Address) and address.scope_id is not None:
        raise AddressRefused("The host must not name a network interface.")
    check_address(address, allow_private=allow_private)
    return str(address)


def _to_ascii(name: str) -> str:
    """Convert a name to ASCII by IDNA 2008 with the mappings of browsers (UTS 46)."""
    if name.isascii():
        return name.lower()
    try:
        return idna.encode(name, uts46=True).decode()
    except UnicodeError:  # idna's own errors are of this type
        raise AddressRefused(f"{name!r} is not a valid host name.") from None


def _is_local(name: str) -> bool:
    return any(name == local or name.endswith(f".{local}") for local in LOCAL_NAMES)
