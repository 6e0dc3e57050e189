"""A TCP port that no process listens on, and that the system gives to no connection."""

import random
import socket

PORTS = range(10_000, 32_000)
"""Below those that Linux gives to outgoing connections: one may take a port before its server."""


def free_port() -> int:
    """Find one."""
    while True:
        port = random.choice(PORTS)  # noqa: S311 - not a secret
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
