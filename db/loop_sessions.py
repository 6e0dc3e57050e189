"""Sessions for an event loop: the same functions with SQL, without a thread for each.

psycopg waits in one place, `Connection.wait`. Here it suspends the greenlet that the function runs
in, as SQLAlchemy's asyncio support does, and the event loop goes on.
"""

import asyncio
import math
import time
from collections.abc import Callable
from typing import Any, Concatenate, ParamSpec, TypeVar

import psycopg
from psycopg import errors
from psycopg.abc import RV, PQGen
from psycopg.waiting import wait_async
from sqlalchemy import Engine
from sqlalchemy.util.concurrency import await_, greenlet_spawn, in_greenlet

from db.errors import NoAnswer, is_lost_session, is_silent
from db.session import Connection, Session, get_family

P = ParamSpec("P")
T = TypeVar("T")


class LoopSession(Session):
    """A session that waits for the server on the event loop."""

    def wait(self, gen: PQGen[RV], interval: float = 0.1, timeout: float | None = None) -> RV:
        """Wait for the server. Raises NoAnswer, and closes, if it does not answer in time."""
        if timeout is not None or not in_greenlet():
            return super().wait(gen, interval, timeout)
        limit = self.family.answer_seconds
        try:
            return await_(wait_async(gen, self.pgconn.socket, limit, limit))
        except errors._WaitTimeout:  # noqa: SLF001  # pyright: ignore[reportPrivateUsage] - it has no public name
            self.pgconn.finish()
            raise NoAnswer(f"no answer for {limit:g} s") from None


class LoopPool:
    """A fixed number of sessions of one event loop, opened when they are first needed.

    No session is pinged before its use: the error of a lost one is the caller's to handle.
    """

    def __init__(self, engine: Engine, size: int) -> None:
        self._family = get_family(engine)
        self._slots = asyncio.Semaphore(size)
        self._free: list[LoopSession] = []
        self._running: set[asyncio.Task[object]] = set()
        self._silent_at = 0.0
        """When the server last did not answer, by `time.monotonic()`."""

    async def run(
        self, function: Callable[Concatenate[Connection, P], T], *args: P.args, **kwargs: P.kwargs
    ) -> T:
        """Run `function(tx, …)` in one transaction, and commit it unless the function has.

        A caller that is cancelled leaves; the transaction is finished all the same. Raises what the
        function raises, and what the database raises when it is unreachable.
        """
        return await self._start(lambda tx: function(tx, *args, **kwargs), _run_in_transaction)

    async def run_statements(
        self, function: Callable[Concatenate[Connection, P], T], *args: P.args, **kwargs: P.kwargs
    ) -> T:
        """Like `run`, but each statement is a transaction of its own, without BEGIN and COMMIT.

        Through a connection pooler it is `run`: there the settings need a transaction.
        """
        return await self._start(lambda tx: function(tx, *args, **kwargs), self._run_each)

    async def read(
        self, function: Callable[Concatenate[Connection, P], T], *args: P.args, **kwargs: P.kwargs
    ) -> T:
        """Like `run_statements`, repeated once if the session was lost: the function only reads.

        If the server does not answer, those who wait for a session fail with the first: they would
        wait as long, one after another.
        """

        def call(tx: Connection) -> T:
            return function(tx, *args, **kwargs)

        asked_at = time.monotonic()
        try:
            return await self._start(call, self._run_each, asked_at)
        except psycopg.Error as error:
            if not is_lost_session(error):
                raise
        return await self._start(call, self._run_each, asked_at)

    async def close(self) -> None:
        """Wait for the transactions that run, and close every session."""
        while self._running:
            await asyncio.wait(self._running)
        self._close_free()

    @property
    def _run_each(self) -> Callable[[LoopSession, Callable[[Connection], T]], T]:
        return _run_in_transaction if self._family.settings else _run_statements

    async def _start(
        self,
        call: Callable[[Connection], T],
        run: Callable[[LoopSession, Any], T],
        asked_at: float = math.inf,
    ) -> T:
        task = asyncio.create_task(self._run(call, run, asked_at))
        self._running.add(task)
        task.add_done_callback(self._running.discard)
        return await asyncio.shield(task)

    async def _run(
        self, call: Callable[[Connection], T], run: Callable[[LoopSession, Any], T], asked_at: float
    ) -> T:
        async with self._slots:
            if asked_at < self._silent_at:
                raise NoAnswer("no answer to another statement")
            try:
                session = await self._take()
                try:
                    return await greenlet_spawn(run, session, call)
                finally:
                    self._put_back(session)
            except psycopg.Error as error:
                if is_silent(error):  # noted before the next one has the slot
                    self._silent_at = time.monotonic()
                raise

    async def _take(self) -> LoopSession:
        while self._free:
            session = self._free.pop()
            if not session.is_stale:
                return session
            session.close()
        return await asyncio.to_thread(LoopSession.open, self._family)

    def _put_back(self, session: LoopSession) -> None:
        """Keep a session. After the loss of one, the others are opened again too."""
        if session.closed:
            self._close_free()
        else:
            self._free.append(session)

    def _close_free(self) -> None:
        while self._free:
            self._free.pop().close()


def _run_in_transaction(session: LoopSession, call: Callable[[Connection], T]) -> T:
    try:
        session.autocommit = False
        session.apply_settings()
        result = call(session)
        session.commit()
    except BaseException as error:
        _undo(session, error)
        raise
    return result


def _run_statements(session: LoopSession, call: Callable[[Connection], T]) -> T:
    try:
        session.autocommit = True
        return call(session)
    except BaseException as error:
        _undo(session, error)
        raise


def _undo(session: LoopSession, error: BaseException) -> None:
    if session.is_lost(error):
        session.close()
        return
    try:
        session.rollback()
    except psycopg.Error:
        session.close()
