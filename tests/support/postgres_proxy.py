"""A TCP proxy in front of PostgreSQL that can hang at a message of the client's choice."""

import socket
import struct
import threading
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager, suppress
from urllib.parse import parse_qs, urlsplit, urlunsplit

Message = bytes


class PostgresProxy:
    """Forwards whole messages; after `hangs_after` is true of one, nothing from that client."""

    def __init__(
        self, database_url: str, hangs_after: Callable[[Message], bool], host: str
    ) -> None:
        given = urlsplit(database_url)
        place = parse_qs(given.query)
        self._server = f"{place['host'][0]}/.s.PGSQL.{place['port'][0]}"
        self._hangs_after = hangs_after
        self._listener = socket.create_server((host, 0))
        port = self._listener.getsockname()[1]
        self.url = urlunsplit(("postgresql", f"postgres@{host}:{port}", given.path, "", ""))
        self.has_hung = threading.Event()
        self._sockets: list[socket.socket] = [self._listener]
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        """End every connection."""
        for each in self._sockets:
            with suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
            each.close()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                server = socket.socket(socket.AF_UNIX)
                server.connect(self._server)
                self._sockets += [client, server]
                threading.Thread(target=self._forward, args=(client, server), daemon=True).start()
                threading.Thread(target=self._answer, args=(server, client), daemon=True).start()

    def _forward(self, client: socket.socket, server: socket.socket) -> None:
        with suppress(OSError, struct.error):
            for message in _read_messages(client):
                server.sendall(message)
                if self._hangs_after(message):
                    self.has_hung.set()
                    return
            server.shutdown(socket.SHUT_WR)

    def _answer(self, server: socket.socket, client: socket.socket) -> None:
        with suppress(OSError):
            while (data := server.recv(65536)) and not self.has_hung.is_set():
                client.sendall(data)
            if not self.has_hung.is_set():
                client.shutdown(socket.SHUT_RDWR)


def _read_messages(client: socket.socket) -> Iterator[Message]:
    """The start-up message has no type; each other one begins with it."""
    stream = client.makefile("rb")
    head = stream.read(4)
    yield head + stream.read(struct.unpack("!I", head)[0] - 4)
    while kind := stream.read(1):
        head = stream.read(4)
        yield kind + head + stream.read(struct.unpack("!I", head)[0] - 4)


@contextmanager
def postgres_proxy(
    database_url: str, hangs_after: Callable[[Message], bool], host: str = "127.0.0.1"
) -> Generator[PostgresProxy]:
    """A proxy while the block runs; libpq must not ask it for TLS (`sslmode=disable`)."""
    proxy = PostgresProxy(database_url, hangs_after, host)
    proxy.url += "?sslmode=disable&gssencmode=disable"
    try:
        yield proxy
    finally:
        proxy.close()
