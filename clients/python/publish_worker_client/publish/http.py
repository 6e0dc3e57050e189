"""The HTTP door: each call is sent again until it is answered, and accepted once."""

import asyncio
import random
import time
from abc import abstractmethod
from collections.abc import Sequence
from typing import Any
from uuid import UUID, uuid4

import httpx2
from pydantic_core import to_json

from publish_worker_client.events.names import Action
from publish_worker_client.publish.command import Command
from publish_worker_client.publish.door import InboxDoor, Sender
from publish_worker_client.publish.errors import (
    InvalidPublication,
    TooManyOpen,
    Unanswered,
    read_object,
    to_refusal,
)
from publish_worker_client.publish.publication import Publication

PREFIX = "/api/v1"
COMMANDS = f"{PREFIX}/publish-commands"
ANSWER_SECONDS = 30.0
"""How long one answer may take."""
FIRST_PAUSE, LONGEST_PAUSE = 0.2, 10.0
"""Seconds between two attempts; the pause doubles, and a part of it is random."""
BUSY, SERVER_ERROR = 429, 500


class HttpDoor(InboxDoor):
    """Sends commands to the API; what blocks is left to its two kinds."""

    def __init__(self, base_url: str, api_key: str, retry_seconds: float) -> None:
        """`retry_seconds`: how long a call is sent again while there is no answer.

        Raises ValueError if `base_url` is not a URL.
        """
        if not base_url.startswith(("http://", "https://")):
            raise ValueError(f"{base_url!a} is not the URL of the API: begin it with https://")
        self.options: dict[str, Any] = {
            "base_url": base_url.rstrip("/").removesuffix(PREFIX),
            "headers": {"Authorization": f"Bearer {api_key}"},
            "timeout": ANSWER_SECONDS,
        }
        self._retry_seconds = retry_seconds

    @abstractmethod
    async def send(self, method: str, path: str, **options: Any) -> httpx2.Response:
        """Send one request. Raises httpx2.TransportError if no answer comes."""
        ...

    async def enqueue(self, publications: Sequence[Publication], sender: Sender) -> list[UUID]:
        """Accept all, or none."""
        commands = [each.to_fields() for each in publications]
        key = sender.idempotency_key or str(uuid4())
        given = {
            "Idempotency-Key": key,
            "X-Correlation-Id": sender.correlation_id,
            "traceparent": sender.traceparent,
        }
        headers = {name: _check(name, value) for name, value in given.items() if value is not None}
        headers["Content-Type"] = "application/json"
        body = to_json({"commands": commands})
        answer = await self._ask("POST", COMMANDS, key, content=body, headers=headers)
        return _list_first_ids(answer["commands"], publications)

    async def read(self, command_id: UUID) -> Command:
        """Read a command."""
        return Command.model_validate(await self._ask("GET", f"{COMMANDS}/{command_id}", None))

    async def _ask(self, method: str, path: str, key: str | None, **options: Any) -> Any:
        """Return the answer's JSON. Raises PublishRefused, or Unanswered once the time is over."""
        until, pause = time.monotonic() + self._retry_seconds, FIRST_PAUSE
        while True:
            try:
                response = await self.send(method, path, **options)
            except httpx2.TransportError as error:
                why, wait = f"{type(error).__name__}: {error}", None
            else:
                if response.is_success:
                    return _read_answer(response, key)
                why, wait = _read_failure(response)
            wait = wait or pause * random.uniform(0.5, 1)  # noqa: S311 - not a secret
            if time.monotonic() + wait > until:
                raise Unanswered(f"The API does not answer: {why}", key)
            await self.pause(wait)
            pause = min(pause * 2, LONGEST_PAUSE)


class BlockingHttpDoor(HttpDoor):
    """For threads: no method suspends."""

    def __init__(self, base_url: str, api_key: str, retry_seconds: float) -> None:
        super().__init__(base_url, api_key, retry_seconds)
        self._client = httpx2.Client(**self.options)

    async def send(self, method: str, path: str, **options: Any) -> httpx2.Response:
        """Send one request."""
        return self._client.request(method, path, **options)

    async def pause(self, seconds: float) -> None:
        """Wait."""
        time.sleep(seconds)  # noqa: ASYNC251 - it blocks on purpose

    async def close(self) -> None:
        """Close the connections."""
        self._client.close()


class AsyncHttpDoor(HttpDoor):
    """For asyncio."""

    def __init__(self, base_url: str, api_key: str, retry_seconds: float) -> None:
        super().__init__(base_url, api_key, retry_seconds)
        self._client = httpx2.AsyncClient(**self.options)

    async def send(self, method: str, path: str, **options: Any) -> httpx2.Response:
        """Send one request."""
        return await self._client.request(method, path, **options)

    async def pause(self, seconds: float) -> None:
        """Wait."""
        await asyncio.sleep(seconds)

    async def close(self) -> None:
        """Close the connections."""
        await self._client.aclose()


def _check(name: str, value: str) -> str:
    """Return a header's value. Raises InvalidPublication if it cannot be one."""
    if not value.isascii() or not value.isprintable():
        raise InvalidPublication(f"{name} must be printable ASCII over HTTP, and is {value!a}.")
    return value


def _read_answer(response: httpx2.Response, key: str | None) -> Any:
    """Return an answer's JSON. Raises Unanswered if another program has answered."""
    answer = read_object(response.content)
    if not answer:
        raise Unanswered(f"{response.url} does not answer as the API does: is it its URL?", key)
    return answer


def _read_failure(response: httpx2.Response) -> tuple[str, float | None]:
    """Return why a request is sent again, and after how many seconds. Raises PublishRefused."""
    problem = read_object(response.content)
    text = f"{response.url} answered {response.status_code}"
    if location := response.headers.get("Location"):
        text = f"{text} and leads to {location}: use that URL"
    if response.status_code < SERVER_ERROR:
        refusal = to_refusal(problem, f"{text}.")
        if response.status_code != BUSY or isinstance(refusal, TooManyOpen):
            raise refusal
    given = response.headers.get("Retry-After", "")
    return str(problem.get("detail") or text), float(given) if given.isdigit() else None


def _list_first_ids(
    commands: Sequence[dict[str, Any]], publications: Sequence[Publication]
) -> list[UUID]:
    """Return the id of each publication's command; one with an end has a second command."""
    left = iter(commands)
    found: list[UUID] = []
    for each in publications:
        found.append(UUID(next(left)["id"]))
        if each.action is Action.PUBLISH and each.until is not None:
            next(left)
    return found
