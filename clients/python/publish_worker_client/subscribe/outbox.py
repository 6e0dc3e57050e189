"""The publisher's outbox as a subscriber reads it: no question outlasts its time, or a stop.

A server that is frozen accepts a statement and never answers, and no timeout of libpq applies. A
question is therefore asked in a thread of its own, which the subscriber need not wait for.
"""

import os
import socket
import threading
import time
from collections.abc import Awaitable, Callable
from concurrent.futures import Future
from contextlib import suppress
from typing import Any, Protocol, TypeVar

import psycopg
from psycopg.conninfo import make_conninfo

from publish_worker_client.events.outbox import Connection
from publish_worker_client.servers.database_errors import is_away
from publish_worker_client.servers.database_url import read_url

CONNECT_SECONDS = 5
T = TypeVar("T")
Question = Callable[[Connection], T]
"""A statement, and what it answers."""
ANSWER_SECONDS = 5.0
"""How long an answer may take, with the connection that it may need."""


class NotAnswered(psycopg.OperationalError):
    """The database has not answered in time, or the subscriber was stopped meanwhile."""


class Patience(Protocol):
    """Who waits for an answer."""

    is_stopping: bool

    def wait_for(self, answer: Future[Any]) -> Awaitable[None]:
        """Wait for an answer, but only for a moment."""
        ...


class OutboxSession:
    """One connection, opened by its first question; it is abandoned with a question in flight."""

    def __init__(self, connect: Callable[[], Connection]) -> None:
        self._connect = connect
        self._connection: Connection | None = None
        self._is_abandoned = False

    def ask(self, question: Question[T]) -> Future[T]:
        """Ask in a thread of its own. The answer may be the database's error."""
        answer: Future[T] = Future()
        threading.Thread(
            target=self._answer, args=(question, answer), name="subscriber-outbox", daemon=True
        ).start()
        return answer

    def abandon(self) -> None:
        """End what is in flight: the thread's wait for the server ends with the socket."""
        self._is_abandoned = True
        with suppress(OSError, psycopg.Error):
            if self._connection is not None:
                with socket.socket(fileno=os.dup(self._connection.fileno())) as link:
                    link.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """Close the connection. No question is in flight."""
        if self._connection is not None:
            self._connection.close()

    def _answer(self, question: Question[T], answer: Future[T]) -> None:
        try:
            answer.set_result(self._ask(question))
        except Exception as error:  # noqa: BLE001 - the asker raises it
            self.close()
            answer.set_exception(error)

    def _ask(self, question: Question[T]) -> T:
        if self._connection is not None:
            try:
                return question(self._connection)
            except psycopg.Error as error:
                if not is_away(error) or self._is_abandoned:
                    raise
                self._connection.close()  # it has died since it was last used
        self._connection = self._connect()
        if self._is_abandoned:
            raise NotAnswered("the database has answered too late")
        return question(self._connection)


class Outbox:
    """The outbox; it connects on first use."""

    def __init__(self, database_url: str) -> None:
        self._parameters = read_url(database_url)
        self._session = OutboxSession(self._connect)

    async def ask(self, question: Question[T], patience: Patience) -> T:
        """Return the answer. Raises the database's error, or NotAnswered after ANSWER_SECONDS or
        when the subscriber is stopped.
        """
        answer = self._session.ask(question)
        try:
            await self._wait_for(answer, patience)
        finally:
            if not answer.done():
                self._session.abandon()
                answer.add_done_callback(lambda _, session=self._session: session.close())
                self._session = OutboxSession(self._connect)
        return answer.result()

    async def _wait_for(self, answer: Future[Any], patience: Patience) -> None:
        until = time.monotonic() + ANSWER_SECONDS
        while not answer.done():
            if patience.is_stopping:
                raise NotAnswered("the subscriber was stopped")
            if time.monotonic() > until:
                raise NotAnswered(f"the database has not answered for {ANSWER_SECONDS:g} s")
            await patience.wait_for(answer)

    def close(self) -> None:
        """Close its connection."""
        self._session.close()

    def _connect(self) -> Connection:
        """Open a connection on which each statement is a transaction.

        Without prepared statements and options, which a pooler may refuse.
        """
        parameters: dict[str, Any] = {"connect_timeout": CONNECT_SECONDS, **self._parameters}
        return psycopg.connect(make_conninfo(**parameters), autocommit=True, prepare_threshold=None)
