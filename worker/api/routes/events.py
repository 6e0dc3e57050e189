"""Events over HTTP: the feed page by page, and the stream of what happens (SSE)."""

import asyncio
from contextlib import suppress
from typing import Annotated
from urllib.parse import urlencode

from anyio import to_thread
from fastapi import Header, Query, Request, Response
from pydantic import Field

from schemas.feed import MAX_POSITION, FeedFilter, StreamFilter, Told, Wanted
from schemas.values.caller import Caller
from worker.api.auth import Here, Reader, StreamReader
from worker.api.documents import openapi
from worker.api.prefer_wait import preferred_wait
from worker.api.routing import Router
from worker.api.streaming.sse import EventStream
from worker.api.streaming.tail import Tail
from worker.events.feed import Page, read
from worker.runtime.runtime import Runtime

router = Router(tags=["events"])


class StreamQuery(StreamFilter):
    """What a stream's URL may say."""

    access_token: Annotated[str, Field(max_length=255)] | None = None
    """A key of scope `read`, for EventSource, which cannot send it in a header. It is not logged
    here; see that nobody else logs it."""


class EventBatch(Response):
    """Events in CloudEvents' JSON batch format."""

    media_type = "application/cloudevents-batch+json"


@router.get(
    "/events",
    operation_id="events-list",
    summary="Read events, page by page",
    response_class=EventBatch,
    responses=openapi.FEED_RESPONSES,
)
async def list_events(
    request: Request,
    runtime: Here,
    caller: Reader,
    asked: Annotated[FeedFilter, Query()],
    prefer: Annotated[  # noqa: ARG001 - read from the request, where it may come more than once
        str | None, Header(description="`wait=N`: wait for an event if there is none. RFC 7240.")
    ] = None,
) -> EventBatch:
    """Read what follows position `after`, in order; without it, from the oldest event kept.

    Go on with the `next` link, or its number as `after`, whether the page is full, half full or
    empty: no event is passed over, and none comes twice. A filter may find nothing in the 5,000
    positions that one call goes through. With `Prefer: wait=N` the answer comes as soon as there
    is an event, or after N seconds. Redis need not be up.
    """
    wanted = _wanted(caller, asked)
    page = await to_thread.run_sync(_read, runtime, wanted, asked)
    headers: dict[str, str] = {}
    seconds = preferred_wait(request.headers.getlist("prefer"))
    if seconds is not None:
        headers["Preference-Applied"] = f"wait={seconds}"
        if not page.events and page.next_after >= page.last:
            page = await _awaited(
                request.app.state.tail, caller, wanted, page, asked.limit, seconds
            )
    query = asked.model_copy(update={"after": page.next_after})
    following = urlencode(query.model_dump(mode="json", exclude_defaults=True), doseq=True)
    base = runtime.settings.public_base_url.rstrip("/")
    headers |= {
        "Link": f'<{base}/api/v1/events?{following}>; rel="next"',
        "Events-Next-After": str(page.next_after),
        "Events-Last": str(page.last),
    }
    return EventBatch(f"[{','.join(event.document for event in page.events)}]", headers=headers)


@router.get(
    "/events/stream",
    operation_id="events-stream",
    summary="Follow events as they happen",
    status_code=200,
    response_class=EventStream,
    responses=openapi.STREAM_RESPONSES,
)
async def stream(
    request: Request,
    caller: StreamReader,
    asked: Annotated[StreamQuery, Query()],
    last_event_id: Annotated[
        int | None,
        Header(
            description="Where to go on; counts over `after`. Browsers send it by themselves.",
            ge=0,
            le=MAX_POSITION,
        ),
    ] = None,
) -> EventStream:
    """Follow what comes behind position `after`, or from now on: Server-Sent Events.

    `id` is the position, `event` the type, `data` the CloudEvents document. After a break,
    `Last-Event-ID` goes on without a gap. Every 15 seconds there is a comment, with an `id` that
    says how far you are. A reader that is too slow gets a last event, `dropped`, that says where to
    go on; so does one whose key was revoked. When the server ends, it says when to come back.
    """
    tail: Tail = request.app.state.tail
    after = asked.after if last_event_id is None else last_event_id
    return EventStream(tail, await tail.join(caller, _wanted(caller, asked), after))


def _wanted(caller: Caller, asked: StreamFilter) -> Wanted:
    return Wanted(
        workspace_id=caller.workspace_id, types=frozenset(asked.type), video_id=asked.video_id
    )


def _read(runtime: Runtime, wanted: Wanted, asked: FeedFilter) -> Page:
    base_url = runtime.settings.public_base_url
    return read(runtime.engine, wanted, after=asked.after, limit=asked.limit, base_url=base_url)


async def _awaited(
    tail: Tail, caller: Caller, wanted: Wanted, empty: Page, limit: int, seconds: float
) -> Page:
    """What comes behind an empty page within so many seconds."""
    events: list[Told] = []
    async with tail.reader(caller, wanted, empty.next_after) as reader:
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                while not events and reader.ending is None:
                    events = await reader.read(limit)
        return Page(
            events=events,
            next_after=reader.position,
            last=max(empty.last, tail.position, reader.position),
        )
