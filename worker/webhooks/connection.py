"""One HTTP/1.1 connection to a receiver: h11 is the protocol, asyncio's streams are the transport.

All that a receiver sends is bounded: the bytes before the body, the bytes of the body, the number
of interim answers. The attempt bounds the time.
"""

import asyncio
import ssl
import time
from contextlib import suppress
from typing import Self

import h11

HEAD_BYTES = 32 * 1024
"""What is read of an answer before its body: interim answers, the status line, headers."""
INTERIM_ANSWERS = 10
"""Answers with a status below 200, of which any number may precede the final one (RFC 9110)."""
BODY_BYTES = 16 * 1024
"""What is read of a body, with its framing: more than is kept, so that short bodies end."""
READ_BYTES = 8 * 1024
IDLE_SECONDS = 30.0
"""How long an unused connection is kept for the next delivery."""


class Connection:
    """A connection that sends one request at a time."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        self._http = h11.Connection(h11.CLIENT, max_incomplete_event_size=HEAD_BYTES)
        self._left = 0
        self._idle_since = 0.0

    @classmethod
    async def open(cls, address: str, port: int, context: ssl.SSLContext | None, name: str) -> Self:
        """Connect to an IP address; `context`: by TLS, with a certificate for `name`."""
        server_hostname = name if context else None
        return cls(
            *await asyncio.open_connection(
                address, port, limit=READ_BYTES, ssl=context, server_hostname=server_hostname
            )
        )

    async def send(self, request: h11.Request, body: bytes) -> h11.Response:
        """Send a request and return the head of its final answer."""
        events = (request, h11.Data(data=body), h11.EndOfMessage())
        self._writer.write(b"".join(self._http.send(event) or b"" for event in events))
        with suppress(ConnectionError):  # a receiver may answer and close before it has read all
            await self._writer.drain()
        self._left = HEAD_BYTES
        for _ in range(INTERIM_ANSWERS + 1):
            event = await self._read_event()
            if isinstance(event, h11.Response):
                return event
        raise h11.RemoteProtocolError(f"There were more than {INTERIM_ANSWERS} interim answers.")

    async def read_body(self, body: bytearray, limit: int) -> None:
        """Append the answer's body to `body`, to its end or until it is longer than `limit`."""
        self._left = BODY_BYTES
        while len(body) <= limit and isinstance(event := await self._read_event(), h11.Data):
            body += event.data

    async def _read_event(self) -> object:
        while (event := self._http.next_event()) is h11.NEED_DATA:
            self._http.receive_data(await self._read())
        return event

    async def _read(self) -> bytes:
        if self._left <= 0:
            raise h11.RemoteProtocolError("The answer is longer than what is read of it.")
        data = await self._reader.read(min(READ_BYTES, self._left))
        self._left -= len(data)
        if not data and self._http.their_state is h11.SEND_RESPONSE:
            raise h11.RemoteProtocolError("Server disconnected without sending a response.")
        return data

    def end_exchange(self) -> bool:
        """Return whether another request can be sent: the answer was read to its end, exactly.

        Bytes after its end would be read as the answer to the next request.
        """
        if self._http.states != {h11.CLIENT: h11.DONE, h11.SERVER: h11.DONE}:
            return False
        if self._http.trailing_data != (b"", False):
            return False
        self._http.start_next_cycle()
        self._idle_since = time.monotonic()
        return True

    async def is_usable(self) -> bool:
        """Whether the connection was used lately, and the receiver has sent nothing since."""
        if time.monotonic() - self._idle_since > IDLE_SECONDS:
            return False
        try:
            async with asyncio.timeout(0):
                await self._reader.read(1)  # returns at once if there are bytes, or the end
        except TimeoutError:
            return True
        except OSError:
            return False
        return False

    def close(self) -> None:
        """Close at once: a receiver need not agree, and bytes that it still sends are dropped."""
        self._writer.transport.abort()
