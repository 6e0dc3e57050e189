"""What happens to every request: a correlation id, one log line, and HEAD wherever GET."""

import re
import time
from collections.abc import MutableMapping
from functools import cache
from typing import Any

import structlog
from prometheus_client import Counter, Histogram
from starlette.middleware.cors import CORSMiddleware
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from uuid_utils import uuid4

from publish_worker_client.trace_context import check_traceparent
from worker.api.problems import shorten
from worker.runtime.metrics import get_metrics

CORRELATION = "x-correlation-id"
EXPOSED = [
    "ETag",
    "Events-Last",
    "Events-Next-After",
    "Idempotency-Replayed",
    "Link",
    "Location",
    "Preference-Applied",
    "Retry-After",
    "X-Correlation-Id",
]
"""Headers of answers that a page of another origin may read."""
PROBES = ("/healthz", "/readyz", "/metrics")
"""Requested every few seconds, so they are logged at level debug, and have no span."""
TRACE = "traceparent"
"""In a request's state: the trace context of its span, if traces are on."""
NO_ROUTE = "other"
"""Stands for the route of a request that matched none, or one of FastAPI's own pages."""
OTHER_METHOD = "OTHER"
_METHODS = frozenset(("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"))
_VALID_ID = re.compile(r"[!-~]{1,128}")

log: structlog.stdlib.BoundLogger = structlog.stdlib.get_logger(__name__)


def correlation_id(scope: MutableMapping[str, Any]) -> str:
    """The request's correlation id: from the caller's header, or generated here."""
    return scope["state"]["correlation_id"]


def traceparent(scope: MutableMapping[str, Any]) -> str | None:
    """The W3C trace context for what the request causes: of its span if traces are on.

    Otherwise the caller's; None if it sent none, or an invalid one.
    """
    own: str | None = scope["state"].get(TRACE)
    return own or read_traceparent(scope)


def read_traceparent(scope: MutableMapping[str, Any]) -> str | None:
    """The caller's W3C trace context; None if it sent none, or an invalid one."""
    return check_traceparent(_header(scope, "traceparent"))


def begin(scope: MutableMapping[str, Any], given: str | None) -> str:
    """Return the request's correlation id, by default a new one, and bind it to the log."""
    identifier = given if given and _VALID_ID.fullmatch(given) else str(uuid4())
    scope.setdefault("state", {})["correlation_id"] = identifier
    structlog.contextvars.clear_contextvars()
    structlog.contextvars.bind_contextvars(correlation_id=identifier)
    return identifier


def record_handled(scope: MutableMapping[str, Any], status: int, started: float) -> None:
    """Log and count a request that was answered; it began at `started` by `time.perf_counter()`."""
    seconds = time.perf_counter() - started
    count_request(scope["state"].get("route", NO_ROUTE), scope["method"], status, seconds)
    write = log.debug if scope["path"].startswith(PROBES) else log.info
    write(
        "request.handled",
        method=scope["method"],
        path=shorten(scope["path"]),
        status=status,
        ms=round(1000 * seconds, 1),
    )


def count_request(route: str, method: str, status: int, seconds: float) -> None:
    """Count an answered request. `route` is a template: paths would be too many."""
    requests, duration = _find_series(route, method if method in _METHODS else OTHER_METHOD, status)
    requests.inc()
    duration.observe(seconds)


@cache
def _find_series(route: str, method: str, status: int) -> tuple[Counter, Histogram]:
    """Return what counts these requests: the library's own look-up costs more than the count."""
    metrics = get_metrics()
    return (
        metrics.http_requests.labels(route, method, f"{status // 100}xx"),
        metrics.http_duration.labels(route, method),
    )


class Cors:
    """Let web pages of the origins in `CORS_ORIGINS` call the API; cookies are not used."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request."""
        origins: list[str] = []
        if scope["type"] == "http":
            origins = scope["app"].state.runtime.settings.allowed_origins()
        app = self._app
        if origins:
            app = CORSMiddleware(
                app,
                allow_origins=origins,
                allow_methods=["*"],
                allow_headers=["*"],
                expose_headers=EXPOSED,
            )
        await app(scope, receive, send)


class Correlation:
    """Give each request a correlation id, bind it to the log, send it back, log the request."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        identifier = begin(scope, _header(scope, CORRELATION))
        started, status = time.perf_counter(), 500

        async def answer(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = [
                    *message.get("headers", ()),
                    (CORRELATION.encode(), identifier.encode()),
                ]
            await send(message)

        try:
            await self._app(scope, receive, answer)
        finally:
            record_handled(scope, status, started)


class HeadAsGet:
    """Answer HEAD wherever GET is answered: the same headers, without the body (RFC 9110)."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request."""
        if scope["type"] != "http" or scope["method"] != "HEAD":
            await self._app(scope, receive, send)
            return
        is_answered = False

        async def receive_until_answered() -> Message:
            return {"type": "http.disconnect"} if is_answered else await receive()

        async def send_headers(message: Message) -> None:
            nonlocal is_answered
            if message["type"] == "http.response.start":
                await send(message)
            elif not is_answered:
                is_answered = True  # an answer without end, a stream, ends here
                await send({"type": "http.response.body"})

        await self._app({**scope, "method": "GET"}, receive_until_answered, send_headers)


def _header(scope: MutableMapping[str, Any], name: str) -> str | None:
    wanted = name.encode()
    return next((v.decode("latin-1") for k, v in scope["headers"] if k == wanted), None)
