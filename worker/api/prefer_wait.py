"""Waiting for outcomes (`Prefer: wait=N`, RFC 7240), without a thread for each who waits."""

import asyncio
import re
from collections.abc import Iterable
from uuid import UUID

from anyio import to_thread
from sqlalchemy import Engine

from db.errors import DATABASE_ERRORS
from worker.enqueue.changes import finished

MAX_WAIT = 60
"""Seconds; whoever wants to wait longer asks again."""
DIGITS = 10
"""A number of seconds this long is above any bound, and need not be read."""
SHORTEST, LONGEST, GROWTH = 0.01, 0.25, 1.3
"""Seconds between looks: at once where publishing is fast, and easy on the database where not."""

_PREFERENCE = re.compile(r'(?:[^,"]|"(?:[^"\\]|\\.)*")+')
"""One of several; a comma within quotes parts nothing."""
_WAIT = re.compile(r'\s*wait\s*=\s*(?:"([0-9]+)"|([0-9]+))\s*(?:;.*)?', re.IGNORECASE)


def preferred_wait(headers: Iterable[str]) -> int | None:
    """The seconds that the caller prefers to wait, at most `MAX_WAIT`; the first one counts."""
    for header in headers:
        for preference in _PREFERENCE.findall(header):
            if found := _WAIT.fullmatch(preference):
                seconds = (found.group(1) or found.group(2)).lstrip("0")
                return min(int(seconds or 0), MAX_WAIT) if len(seconds) < DIGITS else MAX_WAIT
    return None


class Outcomes:
    """Tells waiting requests of their commands' ends: one statement for all of them."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._waiting: dict[UUID, list[asyncio.Event]] = {}
        self._somebody_new = asyncio.Event()
        self._looking: asyncio.Task[None] | None = None
        self._stopped = False

    async def wait(self, command_id: UUID, seconds: float) -> bool:
        """Wait until the command has ended; False if that takes longer than `seconds`."""
        ended = asyncio.Event()
        self._waiting.setdefault(command_id, []).append(ended)
        self._somebody_new.set()
        if self._looking is None or self._looking.done():
            self._looking = asyncio.create_task(self._look())
        try:
            await asyncio.wait_for(ended.wait(), seconds)
        except TimeoutError:
            return False
        finally:
            self._leave(command_id, ended)
        return True

    def _leave(self, command_id: UUID, ended: asyncio.Event) -> None:
        others = self._waiting[command_id]
        others.remove(ended)
        if not others:
            del self._waiting[command_id]

    async def stop(self) -> None:
        """Look no longer; a look that has begun is waited for, with its connection."""
        self._stopped = True
        self._somebody_new.set()
        if self._looking:
            await self._looking

    async def _look(self) -> None:
        """Look while anybody waits, the less often the longer nothing happened."""
        pause = SHORTEST
        while self._waiting and not self._stopped:
            for command_id in await self._finished():
                for event in self._waiting.get(command_id, ()):
                    event.set()
                pause = SHORTEST
            try:
                await asyncio.wait_for(self._somebody_new.wait(), pause)
                self._somebody_new.clear()
                pause = SHORTEST
            except TimeoutError:
                pause = min(pause * GROWTH, LONGEST)

    async def _finished(self) -> set[UUID]:
        try:
            return await to_thread.run_sync(finished, self._engine, list(self._waiting))
        except DATABASE_ERRORS:
            return set()  # whoever waits gets an answer when their time is up
