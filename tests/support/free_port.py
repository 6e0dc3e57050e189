"""A TCP port that no process listens on, and that the system gives to no connection."""

import random
import socket
from collections import deque

PORTS = range(10_000, 32_000)
"""Below those that Linux gives to outgoing connections: one may take a port before its server."""
_RANDOM = random.SystemRandom()
"""Not the common generator: a test may seed it, in several processes alike."""
_taken: deque[socket.socket] = deque(maxlen=100)
"""The last ports, bound for UDP: no process is given one of them, though its server does not listen
yet."""


def free_port() -> int:
    """Find one."""
    while True:
        port = _RANDOM.choice(PORTS)
        mark = socket.socket(type=socket.SOCK_DGRAM)
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                mark.bind(("127.0.0.1", port))
                probe.bind(("127.0.0.1", port))
            except OSError:
                mark.close()
                continue
        if len(_taken) == _taken.maxlen:
            _taken.popleft().close()
        _taken.append(mark)
        return port
