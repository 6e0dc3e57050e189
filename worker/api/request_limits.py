"""What a request may contain: checked before its fields are validated, in linear time."""

import asyncio
from collections.abc import Iterable
from itertools import chain
from typing import Any

from fastapi import Request
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Receive, Scope, Send

from schemas.problem import FieldError
from worker.api.admission import Turn
from worker.api.problems import (
    BODY_TOO_LARGE,
    HEAD_TOO_LARGE,
    MAX_TEXT,
    REQUEST_TIMEOUT,
    URI_TOO_LONG,
    ApiProblem,
    ProblemKind,
    invalid_request,
    to_response,
)

MAX_HEAD = 32 * 1024
"""Bytes of the request line and all headers."""
MAX_HEADERS = 100
MAX_URI = 8 * 1024
"""Bytes of the path and the query."""
MAX_PARAMETERS = 100
MAX_BODY = 1024 * 1024
"""Bytes. A thousand commands, or one Video with all its sections, are much smaller."""
BODY_SECONDS = 30.0
"""How long a client may take to send the body."""

MAX_DEPTH = 50
MAX_KEYS = 1_000
"""Keys of one object."""
MAX_ITEMS = 10_000
"""Elements of one list."""
MAX_VALUES = 50_000
"""Values in the whole body. A thousand commands with all editorial fields have half of that."""
TOO_MANY_VALUES = ("too_many_values", f"the body has more than {MAX_VALUES:,} values")
BOM = b"\xef\xbb\xbf"
"""UTF-8's byte order mark, which some clients put before JSON (RFC 8259 allows to ignore it)."""

_Container = tuple[str, int, dict[str, Any] | list[Any]]
"""A JSON Pointer, the number of levels, and the object or list there."""


class HeadLimit:
    """Refuse a request whose URL or headers are too large. Servers have no such limit, or another.

    `worker.api.http_protocol` limits what uvicorn reads before it calls this.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request."""
        refusal = check_head(scope) if scope["type"] == "http" else None
        if refusal is None:
            await self._app(scope, receive, send)
        else:
            await to_response(Request(scope), ApiProblem(refusal))(scope, receive, send)


def check_head(scope: Scope) -> ProblemKind | None:
    """Return the problem of a head that is too large. None: it is not."""
    query: bytes = scope["query_string"]
    uri_size = len(scope.get("raw_path") or scope["path"]) + len(query)
    if uri_size > MAX_URI or query.count(b"&") >= MAX_PARAMETERS:
        return URI_TOO_LONG
    headers: list[tuple[bytes, bytes]] = scope["headers"]
    if len(headers) > MAX_HEADERS or sum(len(k) + len(v) for k, v in headers) > MAX_HEAD:
        return HEAD_TOO_LARGE
    return None


async def read_body(request: Request, turn: Turn) -> bytes:
    """The whole body, without a byte order mark, accounted to `turn`.

    Raises ApiProblem if it is too large or takes too long, and ClientDisconnect if it is
    incomplete.
    """
    length = request.headers.get("content-length", "")
    if length.isdecimal() and (len(length) > len(str(MAX_BODY)) or int(length) > MAX_BODY):
        raise ApiProblem(BODY_TOO_LARGE, headers={"Connection": "close"})
    try:
        async with asyncio.timeout(BODY_SECONDS):
            body = await _receive_body(request, turn)
    except TimeoutError:
        raise ApiProblem(REQUEST_TIMEOUT, headers={"Connection": "close"}) from None
    return body.removeprefix(BOM)


async def _receive_body(request: Request, turn: Turn) -> bytes:
    body = bytearray()
    while True:
        message = await request.receive()
        if message["type"] == "http.disconnect":
            raise ClientDisconnect
        part: bytes = message.get("body", b"")
        turn.add_body(len(part))
        body += part
        if len(body) > MAX_BODY:
            raise ApiProblem(BODY_TOO_LARGE, headers={"Connection": "close"})
        if not message.get("more_body", False):
            return bytes(body)


def check_structure(document: Any) -> None:
    """Raise ApiProblem if parsed JSON has more than a request needs: validation takes longer."""
    if not _is_within_limits(document):
        _refuse_excess(document)


def _is_within_limits(document: Any) -> bool:
    """Look at the containers level by level. Their JSON Pointers cost ten times as much."""
    count, level = 0, _select_containers([document])
    for _ in range(MAX_DEPTH):
        count += sum(map(len, level))
        if count > MAX_VALUES or any(map(_is_too_large, level)):
            return False
        level = _select_containers(chain.from_iterable(map(_get_values, level)))
        if not level:
            return True
    return False


def _refuse_excess(document: Any) -> None:
    count = 0
    found = _find_containers("", 1, [("", document)])
    while found:
        pointer, depth, container = found.pop()
        count += len(container)
        excess = _find_excess(container, depth) or (TOO_MANY_VALUES if count > MAX_VALUES else None)
        if excess:
            code, detail = excess
            raise invalid_request(FieldError(pointer=pointer, code=code, detail=detail))
        is_object = isinstance(container, dict)
        members = container.items() if is_object else enumerate(container)
        found += _find_containers(f"{pointer}/", depth + 1, members)


def _select_containers(values: Iterable[Any]) -> list[dict[str, Any] | list[Any]]:
    return [value for value in values if isinstance(value, dict | list)]


def _get_values(container: dict[str, Any] | list[Any]) -> Iterable[Any]:
    return container.values() if isinstance(container, dict) else container


def _is_too_large(container: dict[str, Any] | list[Any]) -> bool:
    return len(container) > (MAX_KEYS if isinstance(container, dict) else MAX_ITEMS)


def _find_containers(
    prefix: str, depth: int, members: Iterable[tuple[object, Any]]
) -> list[_Container]:
    return [
        (f"{prefix}{str(name)[:MAX_TEXT]}", depth, value)
        for name, value in members
        if isinstance(value, dict | list)
    ]


def _find_excess(container: dict[str, Any] | list[Any], depth: int) -> tuple[str, str] | None:
    """The code and the text of what an object or a list has too much of."""
    if depth > MAX_DEPTH:
        return "too_deep", f"is nested in more than {MAX_DEPTH} levels"
    if isinstance(container, dict) and len(container) > MAX_KEYS:
        return "too_many_keys", f"has more than {MAX_KEYS:,} keys"
    if len(container) > MAX_ITEMS:
        return "too_many_items", f"has more than {MAX_ITEMS:,} elements"
    return None
