"""The SQL door: commands are accepted inside the caller's own transaction, by a function.

A connection is psycopg's, SQLAlchemy's, or any of DB-API 2.0 to PostgreSQL, as Django's. The caller
commits or rolls back; nothing here does.
"""

import sys
from abc import abstractmethod
from collections.abc import Sequence
from contextlib import closing
from inspect import iscoroutinefunction
from typing import Any, ClassVar, TypeVar
from uuid import UUID

import psycopg
from psycopg.rows import TupleRow, tuple_row
from pydantic import BaseModel
from pydantic_core import to_json

from publish_worker_client.publish.door import InboxDoor, Sender
from publish_worker_client.publish.errors import InvalidPublication, PublishError, find_refusal
from publish_worker_client.publish.publication import Publication, check_text

# Accept publications in one statement, in their order. `requests` is a JSON array.
ENQUEUE = """
SELECT CASE WHEN r.action = 'unpublish' THEN publisher.enqueue_unpublish(
    video_id => r.video_id, unpublish_at => r.unpublish_at,
    expected_revision => r.expected_revision, unpublish_at_local => r.unpublish_at_local,
    time_zone => r.time_zone, fold => r.fold, correlation_id => r.correlation_id,
    idempotency_key => r.idempotency_key, traceparent => r.traceparent
) ELSE publisher.enqueue_publish(
    video_id => r.video_id, publish_at => r.publish_at, unpublish_at => r.unpublish_at,
    publish_before => r.publish_before, expected_revision => r.expected_revision,
    publish_at_local => r.publish_at_local, unpublish_at_local => r.unpublish_at_local,
    time_zone => r.time_zone, fold => r.fold, correlation_id => r.correlation_id,
    idempotency_key => r.idempotency_key, traceparent => r.traceparent
) END AS id
FROM ROWS FROM (jsonb_to_recordset(CAST({requests} AS jsonb)) AS (
    action text, video_id bigint, publish_at timestamptz, unpublish_at timestamptz,
    publish_before timestamptz, expected_revision integer, publish_at_local timestamp,
    unpublish_at_local timestamp, time_zone text, fold integer, correlation_id text,
    idempotency_key text, traceparent text
)) WITH ORDINALITY AS r (
    action, video_id, publish_at, unpublish_at, publish_before, expected_revision,
    publish_at_local, unpublish_at_local, time_zone, fold, correlation_id, idempotency_key,
    traceparent, nth
) ORDER BY nth
"""
T = TypeVar("T", bound=BaseModel)
LONGEST_KEY = 255
"""Characters of a stored key; in a batch it is longer than the caller's."""
OVER_HTTP = "is possible over HTTP only: Publisher(url, api_key=…)"


class SqlDoor(InboxDoor):
    """Calls the function on a connection of the caller; what blocks is left to its two kinds."""

    is_async: ClassVar[bool]

    def __init__(self, connection: Any) -> None:
        """Raises TypeError if it is not a connection of this kind."""
        has_statements = hasattr(connection, "cursor") or hasattr(connection, "execute")
        is_async = iscoroutinefunction(getattr(connection, "commit", None))
        if not has_statements or is_async is not self.is_async:
            raise TypeError(
                f"{type(connection).__name__} is not the URL of the API, and not an open "
                "connection or session: use Publisher for a blocking one, AsyncPublisher for one "
                "of asyncio"
            )
        self.connection = connection

    @property
    def is_dbapi(self) -> bool:
        """Whether it has cursors; SQLAlchemy's connections and sessions have none."""
        return hasattr(self.connection, "cursor")

    @property
    def flushes(self) -> bool:
        """Whether it is a session of SQLAlchemy's ORM that writes its objects before a query."""
        return bool(getattr(self.connection, "autoflush", False))

    @abstractmethod
    async def flush(self) -> None:
        """Write a session's objects first, so that an error of theirs is not one of ours."""
        ...

    @abstractmethod
    async def run(self, requests: str) -> Sequence[Any]:
        """Run ENQUEUE; return its rows."""
        ...

    async def enqueue(self, publications: Sequence[Publication], sender: Sender) -> list[UUID]:
        """Accept all; the caller's transaction has failed if one is refused."""
        requests = [
            _to_request(each, sender, suffix)
            for each, suffix in zip(publications, _list_suffixes(len(publications)), strict=True)
        ]
        content = to_json(requests).decode()
        if self.flushes:
            await self.flush()
        try:
            rows = await self.run(content)
        except Exception as error:
            if refusal := find_refusal(error):
                raise refusal from error
            raise
        return [UUID(str(_get_value(row))) for row in rows]

    async def ask(self, method: str, path: str, kind: type[T], body: Any = None) -> T:  # noqa: ARG002 - the door's
        """Raise PublishError: a role that may only enqueue can neither read nor change commands."""
        raise PublishError(f"{method} {path} {OVER_HTTP}.")

    async def pause(self, seconds: float) -> None:
        """Do nothing: there is nothing to wait for."""

    async def close(self) -> None:
        """Do nothing: the connection is the caller's."""


class BlockingSqlDoor(SqlDoor):
    """For a connection or session that blocks."""

    is_async = False

    async def flush(self) -> None:
        """Write a session's objects."""
        self.connection.flush()

    async def run(self, requests: str) -> Sequence[Any]:
        """Run ENQUEUE."""
        if not self.is_dbapi:
            return self.connection.execute(_to_text(), {"requests": requests}).all()
        connection: Any = self.connection
        if isinstance(connection, psycopg.Connection):  # whatever its rows and cursors are
            with psycopg.Cursor[TupleRow](connection, row_factory=tuple_row) as cursor:  # pyright: ignore[reportUnknownArgumentType]
                return cursor.execute(_to_sql(), [requests], prepare=False).fetchall()
        with closing(connection.cursor()) as cursor:  # DB-API 2.0 has no `with` for cursors
            cursor.execute(_to_sql(), [requests])
            return cursor.fetchall()


class AsyncSqlDoor(SqlDoor):
    """For a connection or session of asyncio."""

    is_async = True

    async def flush(self) -> None:
        """Write a session's objects."""
        await self.connection.flush()

    async def run(self, requests: str) -> Sequence[Any]:
        """Run ENQUEUE."""
        if not self.is_dbapi:
            return (await self.connection.execute(_to_text(), {"requests": requests})).all()
        connection: Any = self.connection
        if isinstance(connection, psycopg.AsyncConnection):
            async with psycopg.AsyncCursor[TupleRow](connection, row_factory=tuple_row) as cursor:  # pyright: ignore[reportUnknownArgumentType]
                await cursor.execute(_to_sql(), [requests], prepare=False)
                return await cursor.fetchall()
        async with connection.cursor() as cursor:
            await cursor.execute(_to_sql(), [requests])
            return await cursor.fetchall()


def _to_sql() -> Any:
    """Return the statement for a driver. psycopg does not prepare it: a pooler may give the next
    transaction a session that has another statement by that name.
    """
    return ENQUEUE.format(requests="%s")


def _list_suffixes(count: int) -> list[str]:
    """Return what is added to a batch's idempotency key for each of its publications.

    They count from the end: a batch that has grown or shrunk since has another publication by the
    same key, and is refused.
    """
    return [":first", *(f":{left}" for left in range(count - 2, 0, -1)), ""][-count:]


def _to_text() -> Any:
    """Return the statement for SQLAlchemy, which the caller has imported."""
    return sys.modules["sqlalchemy"].text(ENQUEUE.format(requests=":requests"))


def _to_request(publication: Publication, sender: Sender, suffix: str) -> dict[str, Any]:
    if publication.video is not None:
        raise InvalidPublication(f"To change the video's fields with it {OVER_HTTP}.")
    key = check_text("idempotency_key", sender.idempotency_key)
    if key == "":
        raise InvalidPublication("idempotency_key must not be empty: leave it out.")
    longest = LONGEST_KEY - len(suffix)
    if key and len(key) > longest:
        text = f"idempotency_key must have at most {longest} characters here, and has {len(key)}."
        raise InvalidPublication(text)
    return publication.to_fields() | {
        "action": publication.action,
        "correlation_id": check_text("correlation_id", sender.correlation_id),
        "idempotency_key": key and f"{key}{suffix}",
        "traceparent": check_text("traceparent", sender.traceparent),
    }


def _get_value(row: Any) -> Any:
    """Return the only column of a row, whatever the connection's rows are."""
    return next(iter(row.values())) if hasattr(row, "values") else row[0]
