"""Look-ups of names: when an endpoint is registered, and again at each connection.

A name may resolve to another address by then.
"""

import socket
from collections.abc import Callable
from typing import Any

from worker.webhooks.addresses import check_addresses
from worker.webhooks.urls import parse_url

Resolve = Callable[[str, int], list[str]]


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


def look_up(host: str, port: int) -> list[str]:
    """Return the addresses of a name; raises OSError if it has none."""
    found: list[Any] = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(sockaddr[0]) for *_, sockaddr in found))
