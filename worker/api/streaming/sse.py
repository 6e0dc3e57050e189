"""Server-Sent Events: one reader's stream, as an answer that ends when either side does."""

import asyncio
import json
import random
import time

import structlog
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from worker.api.streaming.tail import Ending, Reader, Tail

STUCK_SECONDS = 30.0
"""A reader that takes nothing for so long gets no last word either: there is no room for it."""
CHUNK = 100
"""Events in one write."""
RETRY_MS = (500, 3_000)
"""When to come back, at random in between: a thousand readers do not come back as one."""

log: structlog.stdlib.BoundLogger = structlog.stdlib.get_logger(__name__)


class EventStream(Response):
    """Writes what a reader gets, until it is told that there is no more, or the client is gone."""

    media_type = "text/event-stream"

    def __init__(self, tail: Tail, reader: Reader) -> None:
        super().__init__(headers={"Cache-Control": "no-store", "X-Accel-Buffering": "no"})
        del self.headers["content-length"]
        self._tail = tail
        self._reader = reader
        self._writes_since: float | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG002
        """Answer one request."""
        gone = asyncio.create_task(self._until_gone(receive))
        watch = asyncio.create_task(self._watch(asyncio.current_task()))
        try:
            await send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})
            await self._write(send, f": behind {self._reader.position}\nretry: {_retry()}\n\n")
            await self._tell(send, gone)
            if not gone.done():
                await self._write(send, self._last_word(), more=False)
        except asyncio.CancelledError:
            if not watch.done():
                raise
            log.warning("stream.stuck", position=self._reader.position)
        finally:
            gone.cancel()
            watch.cancel()
            self._tail.forget(self._reader)

    async def _tell(self, send: Send, gone: asyncio.Task[None]) -> None:
        reader = self._reader
        while not gone.done():
            events = await reader.read(CHUNK)
            if events:
                await self._write(send, b"".join(event.frame for event in events))
            elif reader.ending is not None:
                return
            else:
                await self._write(send, f": heartbeat\nid: {reader.position}\n\n")

    async def _write(self, send: Send, text: str | bytes, *, more: bool = True) -> None:
        body = text.encode() if isinstance(text, str) else text
        self._writes_since = time.monotonic()
        await send({"type": "http.response.body", "body": body, "more_body": more})
        self._writes_since = None

    async def _watch(self, writer: asyncio.Task[None] | None) -> None:
        """End a stream whose client takes nothing; a timer for each write would cost more."""
        while True:
            await asyncio.sleep(STUCK_SECONDS / 2)
            since = self._writes_since
            if writer and since is not None and time.monotonic() > since + STUCK_SECONDS:
                writer.cancel()
                return

    async def _until_gone(self, receive: Receive) -> None:
        """Wait until the client has gone, and end its reader."""
        while (await receive())["type"] != "http.disconnect":
            pass
        self._reader.end(Ending.STOPPING)

    def _last_word(self) -> str:
        ending, position = self._reader.ending, self._reader.position
        if ending is Ending.STOPPING:
            return f": {ending}\nretry: {_retry()}\nid: {position}\n\n"
        told = json.dumps({"reason": ending, "resume_after": position})
        return f"id: {position}\nevent: dropped\ndata: {told}\n\n"


def _retry() -> int:
    return random.randint(*RETRY_MS)  # noqa: S311 - no secret
