"""Changes: a stream that says when something has happened; the page then fetches what it shows."""

import asyncio
from contextlib import suppress

from fastapi import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from schemas.feed import EventFilter
from worker.api.console.session import COOKIE, PATH, ConsoleRoute, SignedIn
from worker.api.routing import Router
from worker.api.streaming.tail import Tail
from worker.api.streaming.tail_reader import EndReason, TailReader
from worker.operations.api_keys import to_digest

PAUSE_SECONDS = 1.0
"""Between two changes that are reported: a backlog would have a page fetched without end."""
MANY = 1_000
"""Events read at once; only that there were some is reported."""

router = Router(route_class=ConsoleRoute)


class ChangeStream(Response):
    """Writes `changed` at most once a second, and a comment while nothing happens."""

    media_type = "text/event-stream"

    def __init__(self, tail: Tail, reader: TailReader) -> None:
        super().__init__(headers={"Cache-Control": "no-store", "X-Accel-Buffering": "no"})
        del self.headers["content-length"]
        self._tail = tail
        self._reader = reader

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG002
        """Answer one request until either side ends."""
        disconnected = asyncio.create_task(self._until_disconnected(receive))
        try:
            await send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})
            await self._write(send, "retry: 2000\nevent: open\ndata:\n\n")
            while not disconnected.done():
                changed = bool(await self._reader.read(MANY))
                if not changed and self._reader.end_reason is not None:
                    break
                await self._write(send, "event: changed\ndata:\n\n" if changed else ": none\n\n")
                with suppress(TimeoutError):
                    await asyncio.wait_for(asyncio.shield(disconnected), PAUSE_SECONDS)
            if not disconnected.done():
                await send({"type": "http.response.body", "body": b""})
        finally:
            disconnected.cancel()
            self._tail.remove(self._reader)

    async def _write(self, send: Send, text: str) -> None:
        await send({"type": "http.response.body", "body": text.encode(), "more_body": True})

    async def _until_disconnected(self, receive: Receive) -> None:
        while (await receive())["type"] != "http.disconnect":
            pass
        self._reader.end(EndReason.STOPPING)


@router.get(f"{PATH}/changes")
async def changes(request: Request, session: SignedIn) -> ChangeStream:
    """Report that there were new events, for as long as the page is open."""
    tail: Tail = request.app.state.tail
    event_filter = EventFilter(workspace_id=session.caller.workspace_id)
    reader = await tail.join(session.caller, event_filter, None)
    reader.session = to_digest(request.cookies[COOKIE])
    return ChangeStream(tail, reader)
