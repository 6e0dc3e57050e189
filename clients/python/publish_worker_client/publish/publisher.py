"""Publish videos: over HTTP, or inside the caller's own transaction.

with Publisher("https://publish.example.com", api_key=key) as publisher:
    publisher.publish(7)

with psycopg.connect(database_url) as connection:
    connection.execute(…)             # what belongs to the publication
    Publisher(connection).publish(7)  # the command exists if and only if this commits
"""

from collections.abc import AsyncIterator, Iterable, Iterator
from types import TracebackType
from typing import Self, Unpack
from uuid import UUID

from publish_worker_client.publish.arguments import (
    ListArguments,
    PublishArguments,
    ReportArguments,
    RescheduleArguments,
    SenderArguments,
    UnpublishArguments,
)
from publish_worker_client.publish.base import BasePublisher, to_query
from publish_worker_client.publish.command import Command, Generation
from publish_worker_client.publish.http import AsyncHttpDoor, BlockingHttpDoor
from publish_worker_client.publish.publication import Publication
from publish_worker_client.publish.sql import AsyncSqlDoor, BlockingSqlDoor
from publish_worker_client.run_blocking import run_blocking


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

    Methods raise PublishRefused, or one of its kinds, and over HTTP Unanswered. Those that read or
    change commands work over HTTP only: a role that may enqueue may do nothing else.
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
        """Read a command: its state, and why it waits or has ended."""
        return run_blocking(self._read(command_id))

    def await_outcome(self, command_id: UUID, seconds: float = 60.0) -> Command:
        """Return a command when it has ended, or as it is after `seconds`."""
        return run_blocking(self._await_outcome(command_id, seconds))

    def reschedule(self, command_id: UUID, **options: Unpack[RescheduleArguments]) -> Command:
        """Give a command another time or deadline. Raises WrongState if it had ended before.

        One that has been carried out at that time since, as the answer was lost, is returned.
        """
        return run_blocking(self._reschedule(command_id, options))

    def cancel(self, command_id: UUID) -> Command:
        """End a command as `cancelled`. Raises WrongState if it has ended otherwise."""
        return run_blocking(self._cancel(command_id))

    def retry(self, command_id: UUID) -> Command:
        """Give a failed command new attempts. Raises WrongState if it has ended otherwise."""
        return run_blocking(self._retry(command_id))

    def list_commands(self, **wanted: Unpack[ListArguments]) -> Iterator[Command]:
        """List commands, page by page as they are taken."""
        query: str | None = to_query(wanted)
        while query is not None:
            page = run_blocking(self._list_page(query))
            yield from page.commands
            query = page.next_query

    def report(self, video_id: int, **report: Unpack[ReportArguments]) -> Generation:
        """Report on a video's generation. One that arrives twice or late does no harm."""
        return run_blocking(self._report(video_id, report))


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
        """Read a command: its state, and why it waits or has ended."""
        return await self._read(command_id)

    async def await_outcome(self, command_id: UUID, seconds: float = 60.0) -> Command:
        """Return a command when it has ended, or as it is after `seconds`."""
        return await self._await_outcome(command_id, seconds)

    async def reschedule(self, command_id: UUID, **options: Unpack[RescheduleArguments]) -> Command:
        """Give a command another time or deadline. Raises WrongState if it had ended before.

        One that has been carried out at that time since, as the answer was lost, is returned.
        """
        return await self._reschedule(command_id, options)

    async def cancel(self, command_id: UUID) -> Command:
        """End a command as `cancelled`. Raises WrongState if it has ended otherwise."""
        return await self._cancel(command_id)

    async def retry(self, command_id: UUID) -> Command:
        """Give a failed command new attempts. Raises WrongState if it has ended otherwise."""
        return await self._retry(command_id)

    async def list_commands(self, **wanted: Unpack[ListArguments]) -> AsyncIterator[Command]:
        """List commands, page by page as they are taken."""
        query: str | None = to_query(wanted)
        while query is not None:
            page = await self._list_page(query)
            for command in page.commands:
                yield command
            query = page.next_query

    async def report(self, video_id: int, **report: Unpack[ReportArguments]) -> Generation:
        """Report on a video's generation. One that arrives twice or late does no harm."""
        return await self._report(video_id, report)
