"""Routes of events: the feed, page by page, and the live stream (Server-Sent Events)."""

import asyncio
from contextlib import suppress
from typing import Annotated

from anyio import to_thread
from fastapi import Header, Query, Request, Response
from pydantic import BeforeValidator, ConfigDict, Field

from publish_worker_client.events.names import EventType
from schemas.feed import MAX_POSITION, EventFilter, FeedEvent, FeedFilter, StreamFilter
from schemas.values.caller import Caller, Scope
from worker.api import problems
from worker.api.admission import current_turn
from worker.api.auth import AnyCaller, CurrentRuntime, StreamCaller
from worker.api.documents.events import EVENT, FRAME
from worker.api.documents.responses import (
    KEY_PROBLEMS,
    PREFERENCE_APPLIED,
    Responses,
    failures,
    header,
    success,
)
from worker.api.links import page_url
from worker.api.prefer_wait import parse_prefer_wait
from worker.api.problems import ApiProblem
from worker.api.routing import Router
from worker.api.streaming.sse import EventStream
from worker.api.streaming.tail import Tail
from worker.events.feed import FeedPage, read_page
from worker.runtime.runtime import Runtime

router = Router(tags=["events"], responses=KEY_PROBLEMS)


def _to_absent(value: object) -> object:
    """An empty text counts as absent: nothing was received yet."""
    return None if value == "" else value


LastEventId = Annotated[
    Annotated[int, Field(ge=0, le=MAX_POSITION)] | None, BeforeValidator(_to_absent)
]


class StreamQuery(StreamFilter):
    """The query of the live stream. Unknown parameters are ignored: EventSource polyfills add some,
    and a refusal ends their connection for good.
    """

    model_config = ConfigDict(extra="ignore")

    access_token: Annotated[str, Field(max_length=255)] | None = None
    """A key of scope `events`, for EventSource, which cannot set headers. This server does not log
    it; make sure that no proxy does."""
    last_event_id: LastEventId = Field(default=None, alias="lastEventId")
    """The last position received; overrides `after`. EventSource polyfills send it, as they cannot
    set the header."""


class EventBatch(Response):
    """Events in CloudEvents' JSON batch format."""

    media_type = "application/cloudevents-batch+json"


POSITION_PROBLEMS = failures(problems.POSITION_AHEAD, problems.POSITION_GONE)
PAGE: Responses = success(
    200,
    "Events in order, without duplicates; may be empty although more events follow.",
    [EVENT],
    media_type=EventBatch.media_type,
    schema={"type": "array", "items": {"$ref": "#/components/schemas/PublisherEvent"}},
    headers={
        **header(
            "Link",
            "The next page (RFC 8288); it exists even while it has no events.",
            '<http://localhost:8000/api/v1/events?after=1001>; rel="next"',
        ),
        **header("Events-Next-After", "The `after` of the next page.", "1001"),
        **header(
            "Events-Last",
            "The last position assigned; equal to `Events-Next-After` if no events follow now.",
            "1001",
        ),
        **PREFERENCE_APPLIED,
    },
)


@router.get(
    "/events",
    operation_id="events-list",
    summary="Read events, page by page",
    response_class=EventBatch,
    responses=PAGE | POSITION_PROBLEMS,
)
async def list_events(
    request: Request,
    runtime: CurrentRuntime,
    caller: AnyCaller,
    query: Annotated[FeedFilter, Query()],
    prefer: Annotated[  # noqa: ARG001 - read from the request, where it may come more than once
        str | None,
        Header(
            alias="Prefer",
            description="`wait=N`: wait up to N seconds for an event. RFC 7240.",
        ),
    ] = None,
) -> EventBatch:
    """Read the events after position `after`, in order; without it, from the oldest stored event.

    A key of scope `events` does not see events about webhooks, which contain URLs.
    Continue with the `next` link, or with its number as `after`, whether the page is full, partly
    full or empty: no event is missed, and none is repeated. A page may be empty although more
    events follow, since one call scans 5,000 positions, and ends early when it has a MiB. With
    `Prefer: wait=N` the answer is sent as soon as there is an event, or after N seconds. The feed
    works without Redis.
    """
    event_filter = _to_filter(caller, query)
    page = await to_thread.run_sync(_read_page, runtime, event_filter, query)
    headers: dict[str, str] = {}
    seconds = parse_prefer_wait(request.headers.getlist("prefer"))
    if seconds is not None:
        headers["Preference-Applied"] = f"wait={seconds}"
        if not page.events and page.next_after >= page.last:
            tail: Tail = request.app.state.tail
            async with current_turn(request).waiting():
                page = await _wait_for_page(tail, caller, event_filter, page, query.limit, seconds)
    url = page_url(runtime.settings.public_base_url, "/events", query, after=page.next_after)
    headers |= {
        "Link": f'<{url}>; rel="next"',
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
    responses=failures(problems.KEY_IN_URL, problems.TOO_MANY_READERS)
    | POSITION_PROBLEMS
    | success(
        200,
        "Events as they happen, until the client or the server ends the stream.",
        FRAME,
        media_type=EventStream.media_type,
    ),
)
async def stream(
    request: Request,
    caller: StreamCaller,
    query: Annotated[StreamQuery, Query()],
    last_event_id: Annotated[
        LastEventId,
        Header(
            alias="Last-Event-ID",
            description="The last position received; overrides `after`. Browsers send it.",
        ),
    ] = None,
) -> EventStream:
    """Follow the events after position `after`, or from now on, as Server-Sent Events.

    `id` is the position, `event` the type, `data` the CloudEvents document. After an interruption,
    `Last-Event-ID` continues without a gap. Every 15 seconds a heartbeat comment is sent, with an
    `id` that contains your position. A reader that is too slow, or whose key was revoked, receives
    a last event, `dropped`, with the position to continue from. When the server stops, it sends
    the time after which to reconnect.
    """
    tail: Tail = request.app.state.tail
    received = (last_event_id, query.last_event_id, query.after)
    after = next((position for position in received if position is not None), None)
    return EventStream(tail, await tail.join(caller, _to_filter(caller, query), after))


def _to_filter(caller: Caller, query: StreamFilter) -> EventFilter:
    return EventFilter(
        workspace_id=caller.workspace_id,
        types=_allowed_types(caller, frozenset(query.type)),
        video_id=query.video_id,
    )


def _allowed_types(caller: Caller, wanted: frozenset[EventType]) -> frozenset[EventType]:
    """The types to read. A key that a page's visitors see must not show webhook URLs."""
    if caller.scope.includes(Scope.READ):
        return wanted
    if EventType.ENDPOINT_DISABLED in wanted:
        detail = f"Events of type '{EventType.ENDPOINT_DISABLED}' need a key of scope 'read'."
        raise ApiProblem(problems.SCOPE_TOO_LOW, detail)
    return wanted or frozenset(EventType) - {EventType.ENDPOINT_DISABLED}


def _read_page(runtime: Runtime, event_filter: EventFilter, query: FeedFilter) -> FeedPage:
    base_url = runtime.settings.public_base_url
    return read_page(
        runtime.engine, event_filter, after=query.after, limit=query.limit, base_url=base_url
    )


async def _wait_for_page(
    tail: Tail,
    caller: Caller,
    event_filter: EventFilter,
    empty: FeedPage,
    limit: int,
    seconds: float,
) -> FeedPage:
    """The events that follow an empty page within some seconds; empty if there are none."""
    events: list[FeedEvent] = []
    async with tail.reader(caller, event_filter, empty.next_after) as reader:
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                while not events and reader.end_reason is None:
                    events = await reader.read(limit)
        return FeedPage(
            events=events,
            next_after=reader.position,
            last=max(empty.last, tail.position, reader.position),
        )
