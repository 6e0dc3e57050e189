"""One try: send an event to a receiver, and write down what came of it. Never raises for either."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import aclosing
from datetime import UTC, datetime, timedelta

import httpcore

from schemas.values.delivery import Attempt, Receiver
from worker.webhooks.addresses import AddressRefused, Target, parse
from worker.webhooks.connections import Lines
from worker.webhooks.retry_policy import retry_after
from worker.webhooks.signing import headers

TIMEOUT_SECONDS = 15.0
"""For a whole try: name, connection, TLS, request, answer."""
BODY_SECONDS = 2.0
"""The status decides; for the answer's body we do not wait long."""
BODY_BYTES = 1_024
"""So much of it is kept. What is longer is cut off, with the connection."""
LONGEST_ERROR = 500

HTTP_ERRORS = (
    httpcore.NetworkError,
    httpcore.TimeoutException,
    httpcore.ProtocolError,
    httpcore.UnsupportedProtocol,
)
FIXED_HEADERS = {
    "content-type": "application/cloudevents+json",
    "user-agent": "publish-worker (webhooks; +https://www.standardwebhooks.com)",
    "accept": "*/*",
    "accept-encoding": "identity",
}


async def send(
    lines: Lines, receiver: Receiver, event_id: str, body: str, *, allow_private: bool
) -> Attempt:
    """Make one try, within fifteen seconds."""
    started_at, clock = datetime.now(UTC), time.monotonic()
    answered = _Answered()
    error: str | None = None
    try:
        async with asyncio.timeout(TIMEOUT_SECONDS):
            target = parse(receiver.url, allow_private=allow_private)
            request = _request(target, receiver, event_id, body, started_at)
            async with lines.to(receiver.id, target) as line:
                await _exchange(line, request, answered)
    except TimeoutError:
        error = f"There was no answer within {TIMEOUT_SECONDS:g} seconds."
    except (AddressRefused, OSError, *HTTP_ERRORS) as failure:
        error = _storable(str(failure) or type(failure).__name__)[:LONGEST_ERROR]
    if answered.status is not None:
        error = None  # what happened after that is only about the body
    return Attempt(
        started_at=started_at,
        duration_ms=round((time.monotonic() - clock) * 1000),
        status=answered.status,
        error=error,
        answer=answered.text(),
        retry_after=answered.retry_after,
    )


class _Answered:
    """What has been read of an answer, as far as it got."""

    def __init__(self) -> None:
        self.status: int | None = None
        self.retry_after: timedelta | None = None
        self.body = bytearray()

    def text(self) -> str | None:
        if self.status is None:
            return None
        return _storable(self.body[:BODY_BYTES].decode(errors="replace"))


def _request(
    target: Target, receiver: Receiver, event_id: str, body: str, now: datetime
) -> httpcore.Request:
    return httpcore.Request(
        "POST",
        httpcore.URL(scheme=target.scheme, host=target.host, port=target.port, target=target.path),
        headers={
            "host": target.authority,
            "content-length": str(len(body.encode())),
            **FIXED_HEADERS,
            **headers(receiver, event_id, body, now),
        },
        content=body.encode(),
    )


async def _exchange(
    line: httpcore.AsyncHTTP11Connection, request: httpcore.Request, answered: _Answered
) -> None:
    response = await line.handle_async_request(request)
    try:
        answered.status = response.status
        asked = {name.lower(): value for name, value in response.headers}.get(b"retry-after")
        answered.retry_after = retry_after(
            response.status, asked.decode("latin-1") if asked else None, datetime.now(UTC)
        )
        async with asyncio.timeout(BODY_SECONDS):
            await _read(response, answered.body)
    finally:
        await response.aclose()


async def _read(response: httpcore.Response, body: bytearray) -> None:
    """Read to the end, so that the connection can be used again, or to the limit."""
    chunks: AsyncIterator[bytes] = response.aiter_stream()
    async with aclosing(chunks):  # pyright: ignore
        async for chunk in chunks:
            body += chunk
            if len(body) > BODY_BYTES:
                return


def _storable(text: str) -> str:
    """Postgres stores no NUL."""
    return text.replace("\x00", "\N{REPLACEMENT CHARACTER}")
