"""What uvicorn may receive before it calls the application: a limited head, in limited time.

uvicorn's parser stores a head of any size, waits for it without end, and hands a request with
`Upgrade: websocket` to a library that logs its headers and never reads its body. No option changes
that, so uvicorn makes connections of this class in place of its own while the application runs.
"""

import asyncio
from http.client import BAD_REQUEST
from typing import Any, cast
from uuid import uuid4

import httptools
import structlog
from uvicorn.protocols.http.httptools_impl import (
    STATUS_LINE,
    HttpToolsProtocol,
    RequestResponseCycle,
)

from worker.api.middleware import NO_ROUTE, OTHER_METHOD, count_request
from worker.api.problems import (
    HEAD_TOO_LARGE,
    MEDIA_TYPE,
    REQUEST_TIMEOUT,
    TOO_MANY_REQUESTS,
    ApiProblem,
    to_document,
)
from worker.api.request_limits import MAX_HEAD

HEAD_SECONDS = 30.0
"""How long the client may take to send a head, or the rest of a request that is answered."""
FRAMING = (b"content-length", b"transfer-encoding")
"""The headers that say where a body ends."""
MAX_PIPELINED = 20
"""Requests that may wait for the answer to an earlier one on the same connection."""
LINGER_SECONDS = 2.0
"""How long a refused client may send on: a connection that is reset would lose the answer."""

log: structlog.stdlib.BoundLogger = structlog.stdlib.get_logger(__name__)


class BoundedHttpProtocol(HttpToolsProtocol):
    """A connection that refuses a head that is too large or takes too long, and ignores Upgrade."""

    _unparsed = 0
    """Bytes since the parser last completed a head, a part of a body or a request."""
    _deadline: asyncio.TimerHandle | None = None
    _is_refused = False
    _is_repeated = False
    """Whether the parser reads the head of the current request again, without `Upgrade`."""

    def connection_made(self, transport: asyncio.Transport) -> None:
        """Expect a head."""
        super().connection_made(transport)
        self._set_deadline(HEAD_SECONDS)

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the deadline."""
        self._clear_deadline()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Parse; refuse what is too large."""
        if self._is_refused:
            return
        self._unparsed += len(data)
        self._parse(data)
        if self._unparsed > MAX_HEAD:
            self._refuse(ApiProblem(HEAD_TOO_LARGE))
        elif self._deadline is None and not self._is_answering:
            self._set_deadline(HEAD_SECONDS)

    def _parse(self, data: bytes) -> None:
        """Feed the parser. It stops after a head with `Upgrade`; another one parses the rest."""
        self._unset_keepalive_if_required()
        while data:
            try:
                self.parser.feed_data(data)
            except httptools.HttpParserUpgrade as upgrade:
                data = self._repeat_head() + data[upgrade.args[0] :]
            except httptools.HttpParserError:
                if not self._is_refused:
                    self.send_400_response("Invalid HTTP request received.")
                    count_request(NO_ROUTE, OTHER_METHOD, BAD_REQUEST, 0.0)
                return
            else:
                return

    def _repeat_head(self) -> bytes:
        """Make a new parser; return a head without `Upgrade` that lets it read the same body."""
        self.parser = httptools.HttpRequestParser(self)
        self._is_repeated = True
        lines = [name + b": " + value for name, value in self.headers if name in FRAMING]
        return b"\r\n".join([b"POST / HTTP/1.1", *lines, b"\r\n"])

    def on_message_begin(self) -> None:
        """Begin a request."""
        if not self._is_repeated:
            super().on_message_begin()

    def on_url(self, url: bytes) -> None:
        """Keep a part of the URL."""
        if not self._is_repeated:
            super().on_url(url)

    def on_headers_complete(self) -> None:
        """Begin the answer; the time limit of the body is the application's."""
        if self._is_repeated:
            self._is_repeated = False
            return
        self._unparsed = 0
        self._clear_deadline()
        if len(self.pipeline) >= MAX_PIPELINED:
            self._refuse(ApiProblem(TOO_MANY_REQUESTS))
            raise ConnectionAbortedError  # ends the parsing of what was received
        super().on_headers_complete()

    def on_header(self, name: bytes, value: bytes) -> None:
        """Keep a header; a trailer, which follows the body, would change the request's headers."""
        if "method" not in self.scope:
            super().on_header(name, value)

    def on_body(self, body: bytes) -> None:
        """Keep a part of the body."""
        self._unparsed = 0
        super().on_body(body)

    def on_message_complete(self) -> None:
        """Expect the next head; after a head with `Upgrade`, the body follows instead."""
        self._unparsed = 0
        if not self.parser.should_upgrade():
            super().on_message_complete()

    @property
    def _is_answering(self) -> bool:
        cycle = cast("RequestResponseCycle | None", self.cycle)  # None until the first request
        return cycle is not None and not cycle.response_complete

    def _should_upgrade_to_ws(self) -> bool:
        return False

    def _set_deadline(self, seconds: float) -> None:
        self._deadline = self.loop.call_later(seconds, self._end)

    def _clear_deadline(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def _end(self) -> None:
        """The time is over: close; a client that has sent something is told why."""
        self._deadline = None
        if self._unparsed and not self._is_refused:
            self._refuse(ApiProblem(REQUEST_TIMEOUT))
        else:
            self.transport.close()

    def _refuse(self, problem: ApiProblem) -> None:
        """Answer, and discard what follows; close at once while another answer is being sent."""
        log.warning("connection.refused", problem=problem.kind.name)
        count_request(NO_ROUTE, OTHER_METHOD, problem.kind.status, 0.0)
        self._is_refused = True
        self._clear_deadline()
        if self.transport.is_closing() or self._is_answering:
            self.transport.close()
            return
        self.transport.write(_to_answer(problem))
        self._set_deadline(LINGER_SECONDS)


def _to_answer(problem: ApiProblem) -> bytes:
    correlation_id = str(uuid4())
    body = to_document(problem, correlation_id=correlation_id, instance="").encode()
    headers = (
        f"content-type: {MEDIA_TYPE}\r\ncontent-length: {len(body)}\r\n"
        f"x-correlation-id: {correlation_id}\r\nconnection: close\r\n\r\n"
    )
    return STATUS_LINE[problem.kind.status] + headers.encode() + body


def bound_connections() -> None:
    """From now on, every new connection of uvicorn's httptools protocol is bounded."""
    uvicorns = HttpToolsProtocol.__init__

    def init(self: HttpToolsProtocol, *options: Any, **more: Any) -> None:
        if type(self) is HttpToolsProtocol:
            self.__class__ = BoundedHttpProtocol
        uvicorns(self, *options, **more)

    if uvicorns.__module__ != __name__:
        HttpToolsProtocol.__init__ = init
