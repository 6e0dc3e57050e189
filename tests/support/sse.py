"""A reader of Server-Sent Events for tests: a thread that notes what comes."""

import socket
import threading
from collections.abc import Generator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field

import httpx


@dataclass
class Block:
    """What stands between two empty lines."""

    id: str | None = None
    event: str | None = None
    data: str | None = None
    retry: str | None = None
    comment: str | None = None


@dataclass
class Listener:
    """What came so far, and how it ended."""

    blocks: list[Block] = field(default_factory=list[Block])
    status: int | None = None
    problem: str = ""
    has_ended: bool = False

    @property
    def positions(self) -> list[int]:
        """Of the events of ours."""
        return [int(b.id) for b in self.blocks if b.id and (b.event or "").startswith("video.")]

    @property
    def last(self) -> Block:
        """The last word so far."""
        return self.blocks[-1]

    def hear(self, response: httpx.Response) -> None:
        """Note everything until the end."""
        self.status = response.status_code
        if not response.is_success:
            self.problem = response.read().decode()
            return
        block = Block()
        for line in response.iter_lines():
            if line:
                name, _, value = line.partition(": ")
                setattr(block, name or "comment", value)
            else:
                self.blocks.append(block)
                block = Block()


@contextmanager
def listening(url: str, key: str | None = None, **headers: str) -> Generator[Listener]:
    """Listen while the block runs."""
    listener = Listener()
    if key:
        headers["Authorization"] = f"Bearer {key}"
    client = httpx.Client(timeout=60)
    request = client.build_request("GET", url, headers=headers)
    response = client.send(request, stream=True)

    def listen() -> None:
        try:
            listener.hear(response)
        except httpx.HTTPError:
            pass
        finally:
            listener.has_ended = True

    thread = threading.Thread(target=listen)
    thread.start()
    try:
        yield listener
    finally:
        _hang_up(response)
        thread.join()
        client.close()


def _hang_up(response: httpx.Response) -> None:
    """End the connection under a thread that reads from it."""
    stream = response.extensions["network_stream"]
    sock = stream.get_extra_info("socket")
    if sock is not None and sock.fileno() >= 0:
        with suppress(OSError):
            sock.shutdown(socket.SHUT_RDWR)
