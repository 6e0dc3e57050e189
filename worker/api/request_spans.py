"""The span of a request, a child of the caller's `traceparent`. Only where traces are on."""

from typing import TYPE_CHECKING

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from worker.api.middleware import PROBES, TRACE, read_traceparent

if TYPE_CHECKING:
    from publish_worker_client.spans import Tracer

METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
SERVER_ERROR = 500


async def trace_request(
    tracer: "Tracer", handle: ASGIApp, scope: Scope, receive: Receive, send: Send
) -> None:
    """Handle one request in a span of its own; probes have none.

    The path is not in the span, for a link may be a secret: its route is.
    """
    if scope["path"].startswith(PROBES):
        await handle(scope, receive, send)
        return
    is_known = scope["method"] in METHODS
    method = scope["method"] if is_known else "HTTP"
    given = read_traceparent(scope)
    attributes = {
        "http.request.method": method if is_known else "_OTHER",
        "url.scheme": scope["scheme"],
    }
    span = tracer.start(method, given, "server", attributes)
    scope.setdefault("state", {})[TRACE] = tracer.carry(span, given)
    status = SERVER_ERROR

    async def answer(message: Message) -> None:
        nonlocal status
        if message["type"] == "http.response.start":
            status = message["status"]
        await send(message)

    try:
        with tracer.use(span):
            await handle(scope, receive, answer)
    finally:
        if route := scope["state"].get("route"):  # its template, as metrics have it
            span.update_name(f"{method} {route}")
            span.set_attribute("http.route", route)
        span.set_attribute("http.response.status_code", status)
        tracer.end(span, str(status) if status >= SERVER_ERROR else None)
