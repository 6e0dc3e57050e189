"""The HTTP door: each call is sent again until it is answered, and accepted once."""

import asyncio
import random
import time
from abc import abstractmethod
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from typing import Any, TypeVar
from uuid import UUID, uuid4

import httpx2
from pydantic import BaseModel
from pydantic_core import PydanticSerializationError, from_json, to_json

from publish_worker_client.publish.answers import (
    ANSWER_SECONDS,
    AcceptedCommands,
    Response,
    add_part,
    list_first_ids,
    read_answer,
    read_failure,
    to_response,
)
from publish_worker_client.publish.door import InboxDoor, Sender
from publish_worker_client.publish.errors import (
    AccessRefused,
    InvalidPublication,
    Unanswered,
)
from publish_worker_client.publish.option_names import HEADERS
from publish_worker_client.publish.publication import Publication

T = TypeVar("T", bound=BaseModel)
PREFIX = "/api/v1"
COMMANDS = "/publish-commands"
JSON = {"Content-Type": "application/json"}
FIRST_PAUSE, LONGEST_PAUSE = 0.2, 10.0
"""Seconds between two attempts; the pause doubles, and a part of it is random."""
SUCCESS = range(200, 300)


class HttpDoor(InboxDoor):
    """Sends commands to the API; what blocks is left to its two kinds."""

    def __init__(self, base_url: str, api_key: str | None, retry_seconds: float) -> None:
        """`retry_seconds`: how long a call is sent again while there is no answer.

        Raises ValueError if `base_url` is not a URL, AccessRefused if `api_key` is not a key.
        """
        self.options: dict[str, Any] = {
            "base_url": _check_url(base_url).rstrip("/").removesuffix(PREFIX),
            "headers": {"Authorization": f"Bearer {_check_key(api_key)}"},
            "timeout": ANSWER_SECONDS,
        }
        self._retry_seconds = retry_seconds

    @abstractmethod
    async def send(self, method: str, path: str, **options: Any) -> Response:
        """Send one request. Raises httpx2.RequestError if no answer comes."""
        ...

    async def enqueue(self, publications: Sequence[Publication], sender: Sender) -> list[UUID]:
        """Accept all, or none."""
        body = _to_body(publications)
        key = str(uuid4()) if sender.idempotency_key is None else sender.idempotency_key
        given = {**asdict(sender), "idempotency_key": key}
        headers = {
            HEADERS[option]: _check(option, value)
            for option, value in given.items()
            if value is not None
        }
        answer = await self._ask(
            "POST", COMMANDS, AcceptedCommands, key, content=body, headers=headers | JSON
        )
        ids = list_first_ids(answer.commands, publications)
        if ids is None:
            count = len(answer.commands)
            raise Unanswered(f"The API answered with {count} commands for another request.", key)
        return ids

    async def ask(self, method: str, path: str, kind: type[T], body: Any = None) -> T:
        """Return the answer to a request that may be repeated."""
        if body is None:
            return await self._ask(method, path, kind, None)
        return await self._ask(method, path, kind, None, content=_to_json(body), headers=JSON)

    async def _ask(
        self, method: str, path: str, kind: type[T], key: str | None, **options: Any
    ) -> T:
        """Return the answer. Raises PublishRefused, or Unanswered once the time is over."""
        until, pause = time.monotonic() + self._retry_seconds, FIRST_PAUSE
        while True:
            try:
                response = await self.send(method, f"{PREFIX}{path}", **options)
            except httpx2.RequestError as error:
                why, wait = f"{type(error).__name__}: {error}", None
            else:
                if response.status in SUCCESS:
                    return read_answer(response, kind, key)
                why, wait = read_failure(response)
            wait = wait or pause * random.uniform(0.5, 1)  # noqa: S311 - not a secret
            if time.monotonic() + wait > until:
                raise Unanswered(f"The API does not answer: {why.rstrip('.')}.", key)
            await self.pause(wait)
            pause = min(pause * 2, LONGEST_PAUSE)


class BlockingHttpDoor(HttpDoor):
    """For threads: no method suspends."""

    def __init__(self, base_url: str, api_key: str | None, retry_seconds: float) -> None:
        super().__init__(base_url, api_key, retry_seconds)
        self._client = httpx2.Client(**self.options)

    async def send(self, method: str, path: str, **options: Any) -> Response:
        """Send one request."""
        parts, until = bytearray(), time.monotonic() + ANSWER_SECONDS
        with self._client.stream(method, path, **options) as response:
            for part in response.iter_bytes():
                add_part(parts, part, until)
        return to_response(response, parts)

    async def pause(self, seconds: float) -> None:
        """Wait."""
        time.sleep(seconds)  # noqa: ASYNC251 - it blocks on purpose

    async def close(self) -> None:
        """Close the connections."""
        self._client.close()


class AsyncHttpDoor(HttpDoor):
    """For asyncio."""

    def __init__(self, base_url: str, api_key: str | None, retry_seconds: float) -> None:
        super().__init__(base_url, api_key, retry_seconds)
        self._client = httpx2.AsyncClient(**self.options)

    async def send(self, method: str, path: str, **options: Any) -> Response:
        """Send one request."""
        parts, until = bytearray(), time.monotonic() + ANSWER_SECONDS
        async with self._client.stream(method, path, **options) as response:
            async for part in response.aiter_bytes():
                add_part(parts, part, until)
        return to_response(response, parts)

    async def pause(self, seconds: float) -> None:
        """Wait."""
        await asyncio.sleep(seconds)

    async def close(self) -> None:
        """Close the connections."""
        await self._client.aclose()


def _check_url(text: str) -> str:
    """Return a base URL. Raises ValueError, which does not repeat it: it may hold a password."""
    try:
        url = httpx2.URL(text)
    except httpx2.InvalidURL:
        url = httpx2.URL("")
    has_more = url.userinfo or url.query or url.fragment
    if url.scheme not in ("http", "https") or not url.host or has_more:
        raise ValueError(
            "the text is not the URL of the API: it is https://host, https://host:port or with a "
            "prefix, without a user or a query. To publish in a transaction, pass its connection"
        )
    return text


def _check_key(api_key: str | None) -> str:
    if not api_key or not _is_header(api_key):
        raise AccessRefused(
            "Publisher(url) needs api_key, as `publish-worker keys create` shows it."
        )
    return api_key


def _is_header(value: Any) -> bool:
    return (
        isinstance(value, str)
        and value.isascii()
        and value.isprintable()
        and value == value.strip() != ""
    )


def _check(name: str, value: str) -> str:
    """Return a header's value. Raises InvalidPublication if it cannot be one."""
    if not _is_header(value):
        raise InvalidPublication(
            f"{name} must be text of printable ASCII over HTTP, without spaces at its ends, "
            f"and is {value!a}."
        )
    return value


def _to_body(publications: Iterable[Publication]) -> bytes:
    """Return the request's JSON. Raises InvalidPublication if a value of `video` has none."""
    body = {"commands": [each.to_fields() for each in publications]}
    return _to_json(body) if any(each.video for each in publications) else to_json(body)


def _to_json(body: Any) -> bytes:
    """Return the JSON of what a caller gave. Raises InvalidPublication if a value has none."""
    try:
        text = to_json(body)
        from_json(text, allow_inf_nan=False)
    except (PydanticSerializationError, ValueError) as error:
        raise InvalidPublication(f"It must have values of JSON only: {error}") from error
    return text
