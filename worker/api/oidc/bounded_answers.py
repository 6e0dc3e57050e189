"""The size of the provider's answers: each is read into memory, and parsed by the event loop."""

from collections.abc import AsyncGenerator
from typing import Any

import httpx2

MAX_BYTES = 1024 * 1024
"""Of one answer: an ID token with ten thousand groups is half as large."""
HEADERS = {"Accept-Encoding": "identity"}
"""A compressed answer may be a thousand times as large as it seems."""


class _BoundedStream(httpx2.AsyncByteStream):
    """The body of an answer; it fails once it is too large."""

    def __init__(self, stream: httpx2.AsyncByteStream) -> None:
        self._stream = stream

    async def __aiter__(self) -> AsyncGenerator[bytes]:
        size = 0
        async for part in self._stream:
            size += len(part)
            if size > MAX_BYTES:
                raise httpx2.ReadError(f"the answer has more than {MAX_BYTES} bytes")
            yield part

    async def aclose(self) -> None:
        """End the answer, and give its connection back."""
        await self._stream.aclose()


async def bound(answer: httpx2.Response) -> None:
    """Bound an answer before its body is read. Raises httpx2.DecodingError if it is compressed."""
    encoding = answer.headers.get("Content-Encoding", "identity")
    if encoding.lower() != "identity":
        raise httpx2.DecodingError(f"the answer is compressed ({encoding[:20]!r})")
    stream = answer.stream
    assert isinstance(stream, httpx2.AsyncByteStream)  # noqa: S101 - the client is asynchronous
    answer.stream = _BoundedStream(stream)


CLIENT_OPTIONS: dict[str, Any] = {"headers": HEADERS, "event_hooks": {"response": [bound]}}
"""For each client that asks the provider."""
