"""HTTP on a plain socket: for requests that no client library sends."""

import json
import socket
from collections.abc import Generator, Iterable
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from tests.support.waiting import PATIENCE


@dataclass(frozen=True)
class RawAnswer:
    """What the server sent before it closed the connection."""

    received: bytes

    @property
    def status(self) -> int:
        """The status of the first answer; 0: there was none."""
        return int(self.received.split(b" ", 2)[1]) if self.received else 0

    @property
    def problem(self) -> dict[str, Any]:
        """The body of the first answer."""
        return json.loads(self.received.partition(b"\r\n\r\n")[2])


@contextmanager
def connected(url: str) -> Generator[socket.socket]:
    """A connection to the server at `url`."""
    parts = urlsplit(url)
    with socket.create_connection((parts.hostname, parts.port), timeout=PATIENCE) as connection:
        yield connection


def exchange(url: str, *parts: bytes | Iterable[bytes]) -> RawAnswer:
    """Send the parts, as far as the server reads them; receive until the server closes."""
    with connected(url) as connection:
        with suppress(ConnectionError):
            for part in parts:
                for piece in [part] if isinstance(part, bytes) else part:
                    connection.sendall(piece)
        received = b""
        with suppress(ConnectionError):
            while data := connection.recv(65536):
                received += data
    return RawAnswer(received)
