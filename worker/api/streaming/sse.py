"""Server-Sent Events: the answer that writes the events of one reader until either side ends."""

import asyncio
import json
import random
import time
from collections.abc import Iterable, Iterator

import structlog
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from worker.api.streaming.tail import Tail
from worker.api.streaming.tail_reader import EndReason, TailReader

STUCK_SECONDS = 30.0
"""A client that reads nothing for this long is disconnected without a last event."""
CHUNK = 100
"""Events in one write."""
BLOCK = 64 * 1024
"""Bytes in one write: each reader has one in memory."""
RETRY_MS = (500, 3_000)
"""When to reconnect, at random in between, so that not all readers reconnect at once."""

log: structlog.stdlib.BoundLogger = structlog.stdlib.get_logger(__name__)


class EventStream(Response):
    """Writes the events of a reader until the reader ends or the client disconnects."""

    media_type = "text/event-stream"

    def __init__(self, tail: Tail, reader: TailReader) -> None:
        super().__init__(headers={"Cache-Control": "no-store", "X-Accel-Buffering": "no"})
        del self.headers["content-length"]
        self._tail = tail
        self._reader = reader
        self._writes_since: float | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG002
        """Answer one request."""
        disconnected = asyncio.create_task(self._until_disconnected(receive))
        watchdog = asyncio.create_task(self._watch(asyncio.current_task()))
        try:
            await send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})
            await self._write(send, self._first_block())
            await self._write_events(send, disconnected)
            if not disconnected.done():
                await self._write(send, self._last_block(), more=False)
        except asyncio.CancelledError:
            if not watchdog.done():
                raise
            log.warning("stream.stuck", position=self._reader.position)
        finally:
            disconnected.cancel()
            watchdog.cancel()
            self._tail.remove(self._reader)

    async def _write_events(self, send: Send, disconnected: asyncio.Task[None]) -> None:
        reader = self._reader
        while not disconnected.done():
            events = await reader.read(CHUNK)
            if events:
                for block in _to_blocks(event.frame for event in events):
                    await self._write(send, block)
            elif reader.end_reason is not None:
                return
            else:
                await self._write(send, f": heartbeat\nid: {reader.position}\n\n")

    async def _write(self, send: Send, text: str | bytes, *, more: bool = True) -> None:
        body = text.encode() if isinstance(text, str) else text
        self._writes_since = time.monotonic()
        await send({"type": "http.response.body", "body": body, "more_body": more})
        self._writes_since = None

    async def _watch(self, writer: asyncio.Task[None] | None) -> None:
        """End a stream whose client reads nothing; a timer for each write would cost more."""
        while True:
            await asyncio.sleep(STUCK_SECONDS / 2)
            since = self._writes_since
            if writer and since is not None and time.monotonic() > since + STUCK_SECONDS:
                writer.cancel()
                return

    async def _until_disconnected(self, receive: Receive) -> None:
        """Wait until the client disconnects, and end its reader."""
        while (await receive())["type"] != "http.disconnect":
            pass
        self._reader.end(EndReason.STOPPING)

    def _first_block(self) -> str:
        """It has an `id`, so that a reader without a position that is cut off misses no event."""
        position = self._reader.position
        return f": after {position}\nretry: {_retry()}\nid: {position}\n\n"

    def _last_block(self) -> str:
        reason, position = self._reader.end_reason, self._reader.position
        if reason is EndReason.STOPPING:
            return f": {reason}\nretry: {_retry()}\nid: {position}\n\n"
        data = json.dumps({"reason": reason, "resume_after": position})
        return f"id: {position}\nevent: dropped\ndata: {data}\n\n"


def _to_blocks(frames: Iterable[bytes]) -> Iterator[bytes]:
    """Join small frames, so that a write is not larger than BLOCK or one frame."""
    block = b""
    for frame in frames:
        if block and len(block) + len(frame) > BLOCK:
            yield block
            block = b""
        block += frame
    yield block


def _retry() -> int:
    return random.randint(*RETRY_MS)  # noqa: S311 - not a secret
