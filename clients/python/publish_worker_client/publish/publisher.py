"""Publish videos: over HTTP, or inside the caller's own transaction.

with Publisher("https://publish.example.com", api_key=key) as publisher:
    publisher.publish(7)

with psycopg.connect(database_url) as connection:
    connection.execute(…)             # what belongs to the publication
    Publisher(connection).publish(7)  # the command exists if and only if this commits
"""

import time
from collections.abc import Iterable, Mapping
from datetime import datetime
from types import TracebackType
from typing import Any, Self, TypedDict, Unpack
from uuid import UUID

from publish_worker_client.events.names import Action
from publish_worker_client.publish.command import Command
from publish_worker_client.publish.door import InboxDoor, Sender
from publish_worker_client.publish.errors import InvalidPublication
from publish_worker_client.publish.http import AsyncHttpDoor, BlockingHttpDoor
from publish_worker_client.publish.publication import Publication
from publish_worker_client.publish.sql import AsyncSqlDoor, BlockingSqlDoor
from publish_worker_client.run_blocking import run_blocking

MOST_AT_ONCE = 1_000
FIRST_LOOK, LONGEST_LOOK = 0.05, 1.0
"""Seconds between two looks at a command whose outcome is awaited."""


class SenderArguments(TypedDict, total=False):
    """Options of each call: see Sender."""

    idempotency_key: str | None
    correlation_id: str | None
    traceparent: str | None


class UnpublishArguments(SenderArguments, total=False):
    """Options of `unpublish`: see Publication; `at` is when to unpublish."""

    at: datetime | None
    time_zone: str | None
    expected_revision: int | None


class PublishArguments(UnpublishArguments, total=False):
    """Options of `publish`: see Publication."""

    until: datetime | None
    deadline: datetime | None
    video: Mapping[str, Any] | None


class BasePublisher:
    """What both publishers share."""

    def __init__(self, door: InboxDoor) -> None:
        self._door = door

    async def _enqueue(
        self, publications: Iterable[Publication], options: SenderArguments
    ) -> list[UUID]:
        wanted = list(publications)
        if not 0 < len(wanted) <= MOST_AT_ONCE:
            raise InvalidPublication(f"Enqueue 1 to {MOST_AT_ONCE} at once, and not {len(wanted)}.")
        return await self._door.enqueue(wanted, Sender(**options))

    async def _publish(self, video_id: int, options: PublishArguments) -> UUID:
        fields, sender = _split(options)
        publication = Publication(video_id=video_id, **fields)
        return (await self._door.enqueue([publication], sender))[0]

    async def _unpublish(self, video_id: int, options: UnpublishArguments) -> UUID:
        fields, sender = _split(options)
        until = fields.pop("at", None)
        publication = Publication(video_id=video_id, action=Action.UNPUBLISH, until=until, **fields)
        return (await self._door.enqueue([publication], sender))[0]

    async def _await_outcome(self, command_id: UUID, seconds: float) -> Command:
        until, pause = time.monotonic() + seconds, FIRST_LOOK
        while True:
            command = await self._door.read(command_id)
            left = until - time.monotonic()
            if command.has_ended or left <= 0:
                return command
            await self._door.pause(min(pause, left))
            pause = min(pause * 1.5, LONGEST_LOOK)


class Publisher(BasePublisher):
    """Publishes videos, by way of the API or of a database connection.

    `target` is one of:

    - the URL of the API. `api_key` is a key of scope `publish`. A call that is not answered is sent
      again for `retry_seconds` (default: 30); it has an idempotency key, so it is accepted once.
      Any number of threads may use one publisher; a process that was forked since may not. Close
      it, or use it as a context manager;
    - a connection to the publisher's database: psycopg's, SQLAlchemy's (or a Session), Django's, or
      another one of DB-API 2.0. The commands belong to its transaction, which the caller commits or
      rolls back. Its role needs the right to execute `publisher.enqueue_publish` and
      `publisher.enqueue_unpublish`. A refusal ends the transaction, as each error of a statement.

    Methods raise PublishRefused, or one of its kinds, and over HTTP Unanswered.
    """

    def __init__(
        self, target: object, *, api_key: str | None = None, retry_seconds: float = 30.0
    ) -> None:
        is_url = isinstance(target, str)
        super().__init__(
            BlockingHttpDoor(target, api_key, retry_seconds) if is_url else BlockingSqlDoor(target)
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close it."""
        self.close()

    def close(self) -> None:
        """Close the connections to the API; a connection of the caller stays open."""
        run_blocking(self._door.close())

    def publish(self, video_id: int, **options: Unpack[PublishArguments]) -> UUID:
        """Publish a video, once generation has completed; return the command's id."""
        return run_blocking(self._publish(video_id, options))

    def unpublish(self, video_id: int, **options: Unpack[UnpublishArguments]) -> UUID:
        """Unpublish a video; return the command's id."""
        return run_blocking(self._unpublish(video_id, options))

    def enqueue(
        self, publications: Iterable[Publication], **options: Unpack[SenderArguments]
    ) -> list[UUID]:
        """Accept up to 1,000 publications, or none; return the id of a command for each."""
        return run_blocking(self._enqueue(publications, options))

    def read_command(self, command_id: UUID) -> Command:
        """Read a command, over HTTP."""
        return run_blocking(self._door.read(command_id))

    def await_outcome(self, command_id: UUID, seconds: float = 60.0) -> Command:
        """Return a command when it has ended, or as it is after `seconds`; over HTTP."""
        return run_blocking(self._await_outcome(command_id, seconds))


class AsyncPublisher(BasePublisher):
    """Publisher for asyncio: the same parameters, methods and errors.

    `target` is the URL of the API, or a connection of psycopg or SQLAlchemy for asyncio.
    """

    def __init__(
        self, target: object, *, api_key: str | None = None, retry_seconds: float = 30.0
    ) -> None:
        is_url = isinstance(target, str)
        super().__init__(
            AsyncHttpDoor(target, api_key, retry_seconds) if is_url else AsyncSqlDoor(target)
        )

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close it."""
        await self.close()

    async def close(self) -> None:
        """Close the connections to the API; a connection of the caller stays open."""
        await self._door.close()

    async def publish(self, video_id: int, **options: Unpack[PublishArguments]) -> UUID:
        """Publish a video, once generation has completed; return the command's id."""
        return await self._publish(video_id, options)

    async def unpublish(self, video_id: int, **options: Unpack[UnpublishArguments]) -> UUID:
        """Unpublish a video; return the command's id."""
        return await self._unpublish(video_id, options)

    async def enqueue(
        self, publications: Iterable[Publication], **options: Unpack[SenderArguments]
    ) -> list[UUID]:
        """Accept up to 1,000 publications, or none; return the id of a command for each."""
        return await self._enqueue(publications, options)

    async def read_command(self, command_id: UUID) -> Command:
        """Read a command, over HTTP."""
        return await self._door.read(command_id)

    async def await_outcome(self, command_id: UUID, seconds: float = 60.0) -> Command:
        """Return a command when it has ended, or as it is after `seconds`; over HTTP."""
        return await self._await_outcome(command_id, seconds)


def _split(options: Mapping[str, Any]) -> tuple[dict[str, Any], Sender]:
    """Return the options of a publication, and its sender."""
    of_sender = SenderArguments.__annotations__.keys() & options.keys()
    fields = {name: value for name, value in options.items() if name not in of_sender}
    return fields, Sender(**{name: options[name] for name in of_sender})
