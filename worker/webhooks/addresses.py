"""Allowed addresses: public ones over https, unless the operator allows private ones.

Refused are addresses that IANA's special-purpose registries do not list as globally reachable, and
the metadata services of clouds.
"""

from collections.abc import Iterable
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

Address = IPv4Address | IPv6Address


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

PRIVATE_RULE = (
    "Private addresses and http:// are for development: the operator allows them with"
    " WEBHOOKS_ALLOW_PRIVATE=true."
)


class AddressRefused(Exception):
    """The address is not allowed; the message names the rule."""


def parse_address(spelt: str) -> Address | None:
    """Parse an IP address in its usual spelling; None for everything else, as for a name."""
    try:
        return ip_address(spelt)
    except ValueError:
        return None


def check_addresses(addresses: Iterable[str], *, allow_private: bool) -> None:
    """Raise AddressRefused if any of a name's addresses is not allowed."""
    for spelt in addresses:
        check_address(ip_address(spelt), allow_private=allow_private)


def check_address(address: Address, *, allow_private: bool) -> None:
    """Raise AddressRefused if connections to an address are not allowed."""
    if is_allowed(address, allow_private=allow_private):
        return
    may_be_allowed = is_allowed(address, allow_private=True)
    rule = PRIVATE_RULE if may_be_allowed else "It is never allowed."
    raise AddressRefused(f"The host is at {address}, which is not a public address. {rule}")


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
