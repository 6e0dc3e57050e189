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
from publish_worker_client.publish.door import Door, Sender
from publish_worker_client.publish.errors import (
    PublishRefused,
    TooManyOpen,
    Unanswered,
    read_problem,
    to_refusal,
)
from publish_worker_client.publish.publication import Publication

COMMANDS = "/api/v1/publish-commands"
ANSWER_SECONDS = 30.0
"""How long one answer may take."""
FIRST_PAUSE, LONGEST_PAUSE = 0.2, 10.0
"""Seconds between two attempts; the pause doubles, and a part of it is random."""
BUSY, SERVER_ERROR = 429, 500


class HttpDoor(Door):
    """Sends commands to the API; what blocks is left to its two kinds."""

    def __init__(self, base_url: str, api_key: str, retry_seconds: float) -> None:
        """`retry_seconds`: how long a call is sent again while there is no answer."""
        self.options: dict[str, Any] = {
            "base_url": base_url.rstrip("/"),
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
        headers = {"Content-Type": "application/json", "Idempotency-Key": key}
        if sender.correlation_id is not None:
            headers["X-Correlation-Id"] = sender.correlation_id
        if sender.traceparent is not None:
            headers["traceparent"] = sender.traceparent
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
                    return response.json()
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


def _read_failure(response: httpx2.Response) -> tuple[str, float | None]:
    """Return why a request is sent again, and after how many seconds. Raises PublishRefused."""
    problem = read_problem(response.content)
    if response.status_code < SERVER_ERROR:
        refusal: PublishRefused = to_refusal(response.status_code, problem)
        if response.status_code != BUSY or isinstance(refusal, TooManyOpen):
            raise refusal
    text = problem.get("detail") or f"it answered {response.status_code}."
    given = response.headers.get("Retry-After", "")
    return str(text), float(given) if given.isdigit() else None


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
