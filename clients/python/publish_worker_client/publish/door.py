"""The doors to the inbox: what each publisher needs from HTTP or from a database."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar
from uuid import UUID

from pydantic import BaseModel

from publish_worker_client.publish.publication import Publication

T = TypeVar("T", bound=BaseModel)


@dataclass(frozen=True, slots=True, kw_only=True)
class Sender:
    """Who sends publications, and for which job."""

    idempotency_key: str | None = None
    """A second call with this key returns the commands of the first one; with other publications it
    is refused. On a connection, each publication of a batch has a key of its own, so a batch that
    has changed only between its first publication and its end is accepted, with those that are new,
    and so is a batch for whose last publication alone the key was used, or the reverse.
    """
    correlation_id: str | None = None
    """The caller's name of the whole job; each event and log line has it. None: made up."""
    traceparent: str | None = None
    """The W3C trace context of the caller."""


class InboxDoor(Protocol):
    """One way to the inbox. Over blocking connections, nothing suspends."""

    async def enqueue(self, publications: Sequence[Publication], sender: Sender) -> list[UUID]:
        """Accept all, or none; return the ids of the commands, one for each. Raises PublishError.

        A publication with `until` has one id, too: that of the command which publishes.
        """
        ...

    async def ask(self, method: str, path: str, kind: type[T], body: Any = None) -> T:
        """Return the API's answer to a request that may be repeated. Raises PublishError."""
        ...

    async def pause(self, seconds: float) -> None:
        """Wait."""
        ...

    async def close(self) -> None:
        """Close what the door has opened itself."""
        ...
