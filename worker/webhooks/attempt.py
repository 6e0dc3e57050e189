"""One attempt: POST an event to a receiver and return what happened.

Whatever comes out of it is the attempt's result: no error is raised, of any kind. An error without
a trace in the delivery would be repeated for ever, and hold back the later events of its video.
"""

import asyncio
import re
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import h11
import structlog

from schemas.values.delivery import Attempt, Receiver
from worker.webhooks.addresses import AddressRefused
from worker.webhooks.connection import Connection
from worker.webhooks.connections import Connections
from worker.webhooks.retry_policy import parse_retry_after
from worker.webhooks.signing import build_headers
from worker.webhooks.urls import Target, parse_url

TIMEOUT_SECONDS = 15.0
"""For a whole attempt: name look-up, connection, TLS, request, answer."""
BODY_SECONDS = 2.0
"""For the body of the answer; only its status matters."""
BODY_BYTES = 1_024
"""The part of the body that is kept. A longer body is cut off and its connection closed."""
LONGEST_ERROR = 500
"""Characters."""
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")
"""Control characters but tab and newline: Postgres cannot store NUL, and terminals obey others."""

FIXED_HEADERS = {
    "content-type": "application/cloudevents+json",
    "user-agent": "publish-worker (webhooks; +https://www.standardwebhooks.com)",
    "accept": "*/*",
    "accept-encoding": "identity",
}

log: structlog.stdlib.BoundLogger = structlog.stdlib.get_logger(__name__)


async def make_attempt(
    connections: Connections,
    receiver: Receiver,
    event_id: str,
    build_body: Callable[[], str],
    *,
    allow_private: bool,
    traceparent: str | None = None,
) -> Attempt:
    """Send one signed request and wait for its answer, for up to fifteen seconds.

    `traceparent` is a header of the request; None: it has none.
    """
    started_at, clock = datetime.now(UTC), time.monotonic()
    answer = _Answer()
    error: str | None = None
    try:
        async with asyncio.timeout(TIMEOUT_SECONDS):
            target = parse_url(receiver.url, allow_private=allow_private)
            body = build_body()
            signed = build_headers(receiver, event_id, body, started_at)
            answer.withheld = signed["webhook-signature"].split()
            traced = {} if traceparent is None else {"traceparent": traceparent}
            request = _build_request(target, signed | traced, body)
            async with connections.borrow(receiver, target) as connection:
                await _exchange(connection, request, body, answer)
    except TimeoutError:
        error = f"There was no answer within {TIMEOUT_SECONDS:g} seconds."
    except (AddressRefused, OSError, h11.ProtocolError) as failure:
        error = answer.to_text(str(failure) or type(failure).__name__, LONGEST_ERROR)
    except Exception as failure:  # a bug, or an unforeseen answer: see the module
        error = f"The attempt failed with an internal error ({type(failure).__name__})."
        log.exception("webhooks.attempt_broken", endpoint_id=str(receiver.id), event_id=event_id)
    if answer.status is not None:
        error = None  # the status arrived; the error concerns only the body
    return Attempt(
        started_at=started_at,
        duration_ms=round((time.monotonic() - clock) * 1000),
        status=answer.status,
        error=error,
        answer=answer.get_text(),
        retry_after=answer.retry_after,
    )


class _Answer:
    """The part of an answer that was read so far."""

    def __init__(self) -> None:
        self.status: int | None = None
        self.retry_after: timedelta | None = None
        self.body = bytearray()
        self.withheld = list[str]()
        """The request's signatures: a receiver that echoes them must not bring them into a log."""

    def get_text(self) -> str | None:
        if self.status is None:
            return None
        return self.to_text(self.body[:BODY_BYTES].decode(errors="replace"), BODY_BYTES)

    def to_text(self, text: str, limit: int) -> str:
        """Cut a text of the receiver's, and replace what is not to be stored.

        That is signatures, control characters and lone surrogates.
        """
        for signature in self.withheld:
            _, value = signature.split(",", 1)
            for spelt in (value, value.replace("/", "\\/")):  # as JSON may escape it
                text = text.replace(spelt, "[signature]")
        text = text[:limit].encode(errors="replace").decode()
        return _CONTROL.sub("\N{REPLACEMENT CHARACTER}", text)


def _build_request(target: Target, signed: dict[str, str], body: str) -> h11.Request:
    return h11.Request(
        method="POST",
        target=target.path,
        headers=list(
            {
                "host": target.authority,
                "content-length": str(len(body.encode())),
                **FIXED_HEADERS,
                **signed,
            }.items()
        ),
    )


async def _exchange(
    connection: Connection, request: h11.Request, body: str, answer: _Answer
) -> None:
    response = await connection.send(request, body.encode())
    answer.status = response.status_code
    asked = dict(response.headers).get(b"retry-after")
    answer.retry_after = parse_retry_after(
        answer.status, asked.decode("latin-1") if asked else None, datetime.now(UTC)
    )
    async with asyncio.timeout(BODY_SECONDS):
        await connection.read_body(answer.body, BODY_BYTES)
