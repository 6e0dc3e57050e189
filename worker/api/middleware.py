"""Around every request: a correlation id, one log line, and a bound on the body."""

import re
import time
from collections.abc import MutableMapping
from typing import Any
from uuid import uuid4

import structlog
from fastapi.responses import JSONResponse
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from schemas.problem import Problem

MAX_BODY = 1024 * 1024
"""Bytes: a thousand commands, or one Video with all its sections, are well below."""
CORRELATION = "x-correlation-id"
_QUIET = ("/healthz", "/readyz")
"""Asked every few seconds: no news."""
_SANE = re.compile(r"[!-~]{1,128}")
_TRACEPARENT = re.compile(
    r"(?!ff)[0-9a-f]{2}-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}"
)

log: structlog.stdlib.BoundLogger = structlog.stdlib.get_logger(__name__)


def correlation_id(scope: MutableMapping[str, Any]) -> str:
    """What this request is known by, from the caller's header or made here."""
    return scope["state"]["correlation_id"]


def traceparent(scope: MutableMapping[str, Any]) -> str | None:
    """The caller's W3C trace context, if it sent a valid one."""
    value = _header(scope, "traceparent")
    return value if value and _TRACEPARENT.fullmatch(value) else None


class Correlation:
    """Gives each request a correlation id, binds it to the log, answers it, logs the request."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        given = _header(scope, CORRELATION)
        known = given if given and _SANE.fullmatch(given) else str(uuid4())
        scope.setdefault("state", {})["correlation_id"] = known
        structlog.contextvars.clear_contextvars()
        structlog.contextvars.bind_contextvars(correlation_id=known)
        begun, status = time.perf_counter(), 500

        async def answer(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = [
                    *message.get("headers", ()),
                    (CORRELATION.encode(), known.encode()),
                ]
            await send(message)

        try:
            await self._app(scope, receive, answer)
        finally:
            tell = log.debug if scope["path"].startswith(_QUIET) else log.info
            tell(
                "request.handled",
                method=scope["method"],
                path=scope["path"],
                status=status,
                ms=round(1000 * (time.perf_counter() - begun), 1),
            )


class BodyLimit:
    """Reads the body before anybody else does, and refuses one that is too large.

    FastAPI's own limit answers in plain text, and every error here is a problem.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request."""
        if scope["type"] != "http" or scope["method"] in ("GET", "HEAD", "OPTIONS"):
            await self._app(scope, receive, send)
            return
        try:
            body = await _read(scope, receive)
        except ClientDisconnect:
            return  # half a body is no request
        if body is None:
            await _too_large(scope)(scope, receive, send)
            return
        replayed = False

        async def replay() -> Message:
            nonlocal replayed
            if replayed:
                return await receive()
            replayed = True
            return {"type": "http.request", "body": body, "more_body": False}

        await self._app(scope, replay, send)


async def _read(scope: Scope, receive: Receive) -> bytes | None:
    """The whole body, or None as soon as it is known to be too large."""
    length = _header(scope, "content-length")
    if length and length.isdigit() and int(length) > MAX_BODY:
        return None
    body = bytearray()
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ClientDisconnect
        body += message.get("body", b"")
        if len(body) > MAX_BODY:
            return None
        if not message.get("more_body", False):
            return bytes(body)


def _too_large(scope: Scope) -> JSONResponse:
    problem = Problem(
        type="/problems/body-too-large",
        title="Body too large",
        status=413,
        detail=f"The body is larger than {MAX_BODY} bytes. Nothing was done; send less at once.",
        instance=scope["path"],
        correlation_id=correlation_id(scope),
    )
    return JSONResponse(
        problem.model_dump(exclude_none=True),
        status_code=413,
        media_type="application/problem+json",
        headers={"Connection": "close"},
    )


def _header(scope: MutableMapping[str, Any], name: str) -> str | None:
    wanted = name.encode()
    return next((v.decode("latin-1") for k, v in scope["headers"] if k == wanted), None)
