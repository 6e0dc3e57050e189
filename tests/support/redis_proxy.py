"""A TCP proxy in front of Redis that loses the answer to a command of the test's choice."""

import socket
import threading
from collections.abc import Generator
from contextlib import contextmanager, suppress
from urllib.parse import urlsplit, urlunsplit

SIZE = 2**20


class RedisProxy:
    """Forwards all; `loses` answers to commands with `marker` do not reach the client, whose
    connection ends instead.
    """

    def __init__(self, redis_url: str, marker: bytes, loses: int) -> None:
        given = urlsplit(redis_url)
        self._server = (given.hostname or "", given.port or 0)
        self._marker = marker
        self.loses = loses
        self._listener = socket.create_server(("127.0.0.1", 0))
        login, at, _ = given.netloc.rpartition("@")
        place = f"{login}{at}127.0.0.1:{self._listener.getsockname()[1]}"
        self.url = urlunsplit(given._replace(netloc=place))
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
                server = socket.create_connection(self._server)
                self._sockets += [client, server]
                threading.Thread(target=self._serve, args=(client, server), daemon=True).start()

    def _serve(self, client: socket.socket, server: socket.socket) -> None:
        with suppress(OSError):
            while request := client.recv(SIZE):
                server.sendall(request)
                answer = server.recv(SIZE)
                if self._marker in request and self.loses and not answer.startswith(b"-"):
                    self.loses -= 1
                    break
                client.sendall(answer)
            client.shutdown(socket.SHUT_RDWR)


@contextmanager
def redis_proxy(redis_url: str, *, marker: bytes, loses: int) -> Generator[RedisProxy]:
    """A proxy for as long as the block runs."""
    proxy = RedisProxy(redis_url, marker, loses)
    try:
        yield proxy
    finally:
        proxy.close()
