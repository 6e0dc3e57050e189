"""Waiting for commands to end (`Prefer: wait=N`, RFC 7240), without a thread for each request."""

import asyncio
import re
from collections.abc import Iterable
from uuid import UUID

from anyio import to_thread
from sqlalchemy import Engine

from db.errors import DATABASE_ERRORS
from worker.enqueue.changes import find_ended

MAX_WAIT = 60
"""Seconds. A client that wants to wait longer asks again."""
MAX_DIGITS = 9
"""A number with more digits is above `MAX_WAIT`; it is not parsed."""
SHORTEST, LONGEST, GROWTH = 0.01, 0.25, 1.3
"""Seconds between polls: short while commands end fast, longer to spare the database."""

_PREFERENCE = re.compile(r'(?:[^,"]|"(?:[^"\\]|\\.)*(?:"|\\?\Z))+', re.DOTALL)
"""One of several preferences; a comma within quotes does not separate. A quote that is not closed
goes to the end: giving up there, to try from each later character, would take quadratic time."""
_WAIT = re.compile(r'\s*wait\s*=\s*(?:"([0-9]+)"|([0-9]+))\s*(?:;.*)?', re.IGNORECASE)


def parse_prefer_wait(headers: Iterable[str]) -> int | None:
    """The seconds that the caller prefers to wait, at most `MAX_WAIT`.

    `headers` are the values of `Prefer`; the first `wait` counts. None: there is none.
    """
    for header in headers:
        for preference in _PREFERENCE.findall(header):
            if found := _WAIT.fullmatch(preference):
                seconds = (found.group(1) or found.group(2)).lstrip("0")
                return min(int(seconds or 0), MAX_WAIT) if len(seconds) <= MAX_DIGITS else MAX_WAIT
    return None


def wants_no_wait(headers: Iterable[str]) -> bool:
    """Whether the caller prefers the answer before the work is done (`respond-async`)."""
    preferences = (preference for header in headers for preference in header.split(","))
    return any(each.partition(";")[0].strip().lower() == "respond-async" for each in preferences)


class OutcomeWatcher:
    """Wakes waiting requests when their commands end; one statement serves all of them."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._waiting: dict[UUID, list[asyncio.Event]] = {}
        self._has_new = asyncio.Event()
        self._polling: asyncio.Task[None] | None = None
        self._stopped = False

    async def wait(self, command_id: UUID, seconds: float) -> bool:
        """Wait until the command has ended; False if that takes longer than `seconds`."""
        ended = asyncio.Event()
        self._waiting.setdefault(command_id, []).append(ended)
        self._has_new.set()
        if self._polling is None or self._polling.done():
            self._polling = asyncio.create_task(self._poll())
        try:
            await asyncio.wait_for(ended.wait(), seconds)
        except TimeoutError:
            return False
        finally:
            self._remove(command_id, ended)
        return True

    def _remove(self, command_id: UUID, ended: asyncio.Event) -> None:
        others = self._waiting[command_id]
        others.remove(ended)
        if not others:
            del self._waiting[command_id]

    async def stop(self) -> None:
        """Stop polling; wait for a running statement to return its connection."""
        self._stopped = True
        self._has_new.set()
        if self._polling:
            await self._polling

    async def _poll(self) -> None:
        """Poll while a request waits, more slowly the longer nothing ends."""
        pause = SHORTEST
        while self._waiting and not self._stopped:
            for command_id in await self._finished():
                for event in self._waiting.get(command_id, ()):
                    event.set()
                pause = SHORTEST
            try:
                await asyncio.wait_for(self._has_new.wait(), pause)
                self._has_new.clear()
                pause = SHORTEST
            except TimeoutError:
                pause = min(pause * GROWTH, LONGEST)

    async def _finished(self) -> set[UUID]:
        try:
            return await to_thread.run_sync(find_ended, self._engine, list(self._waiting))
        except DATABASE_ERRORS:
            return set()  # each request is answered when its time is over
