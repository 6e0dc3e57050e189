"""What the API answers over HTTP, or what another program answers in its place."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import TypeVar
from uuid import UUID

import httpx2
from pydantic import BaseModel, ValidationError

from publish_worker_client.events.names import Action
from publish_worker_client.publish.errors import (
    TooManyOpen,
    Unanswered,
    read_object,
    to_refusal,
)
from publish_worker_client.publish.publication import Publication

T = TypeVar("T", bound=BaseModel)
ANSWER_SECONDS = 30.0
"""How long one answer may take, also one that comes byte by byte."""
MOST_BYTES = 64 * 1024 * 1024
"""The size of one answer: another program may send without an end."""
BUSY, SERVER_ERROR = 429, 500
PASSING = (408, 425, BUSY)
"""Statuses below 500 after which a request is sent again, as a proxy may ask for."""


class AcceptedCommand(BaseModel):
    """A command in the answer to a request."""

    id: UUID


class AcceptedCommands(BaseModel):
    """The answer to a request."""

    commands: list[AcceptedCommand]


@dataclass(slots=True)
class Response:
    """An answer, read completely."""

    url: str
    status: int
    headers: httpx2.Headers
    content: bytes


def add_part(parts: bytearray, part: bytes, until: float) -> None:
    """Add a part of an answer. Raises ReadTimeout or ReadError if there is too much of it."""
    parts += part
    if time.monotonic() > until:
        raise httpx2.ReadTimeout(f"the answer is not complete after {ANSWER_SECONDS:g} s")
    if len(parts) > MOST_BYTES:
        raise httpx2.ReadError(f"the answer has more than {MOST_BYTES} bytes")


def to_response(response: httpx2.Response, content: bytearray) -> Response:
    """Return a response that was read, with its content."""
    return Response(str(response.url), response.status_code, response.headers, bytes(content))


def read_answer(response: Response, kind: type[T], key: str | None) -> T:
    """Return an answer. Raises Unanswered if another program has answered."""
    try:
        return kind.model_validate(read_object(response.content))
    except ValidationError as error:
        text = f"{response.url} does not answer as the API does: is it its URL?"
        raise Unanswered(text, key) from error


def read_failure(response: Response) -> tuple[str, float | None]:
    """Return why a request is sent again, and after how many seconds. Raises PublishRefused."""
    problem = read_object(response.content)
    text = f"{response.url} answered {response.status}"
    if location := response.headers.get("Location"):
        text = f"{text} and leads to {location}: use that URL"
    if response.status < SERVER_ERROR:
        refusal = to_refusal(problem, response.status, f"{text}.")
        if response.status not in PASSING or isinstance(refusal, TooManyOpen):
            raise refusal
    wait = _read_retry_after(response.headers.get("Retry-After", ""))
    return str(problem.get("detail") or text), wait


def _read_retry_after(text: str) -> float | None:
    """Return the seconds of a Retry-After: a number, or a date; None: it is neither."""
    if text.isascii() and text.isdigit():
        return float(text)
    try:
        return max(0.0, parsedate_to_datetime(text).timestamp() - time.time())
    except (ValueError, OverflowError):
        return None


def list_first_ids(
    commands: Sequence[AcceptedCommand], publications: Sequence[Publication]
) -> list[UUID] | None:
    """Return the id of each publication's command; one with an end has a second command.

    None: these are not their commands.
    """
    found, place = list[UUID](), 0
    for each in publications:
        found += [command.id for command in commands[place : place + 1]]
        place += 2 if each.action is Action.PUBLISH and each.until is not None else 1
    return found if place == len(commands) else None
