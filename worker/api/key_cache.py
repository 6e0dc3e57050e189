"""API keys of this process's callers, kept for less than a second.

A key that was revoked, or a workspace that it lost, is noticed within `KEPT_SECONDS`. The last use
of each key is recorded about once a minute, not within its requests.
"""

import asyncio
import time
from collections.abc import Callable
from contextvars import Context
from dataclasses import dataclass
from uuid import UUID

import structlog
from psycopg.errors import InsufficientPrivilege

from db import api_keys
from db.errors import DATABASE_ERRORS, is_silent
from db.loop_sessions import LoopPool
from schemas.values.caller import Caller
from worker.operations.api_keys import to_digest

KEPT_SECONDS = 0.9
"""Counted from the moment before the look-up began: what was revoked then, is noticed by then."""
REFRESHED_AFTER = 0.4
"""Seconds. A key that is used after that is looked up again, while its requests go on."""
MAX_KEYS = 10_000
NOTED_EVERY = 60.0
"""Seconds between two statements that record the last use of keys."""
USE_NOT_RECORDED = (
    "When API keys are used is not recorded: the database role may not. Run as the role that owns"
    " the schema: GRANT UPDATE (last_used_at) ON publisher.api_key TO the role of the API (see"
    " docs/adopting.md), and start the API again."
)

log: structlog.stdlib.BoundLogger = structlog.stdlib.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class _Known:
    caller: Caller
    asked_at: float


class KeyCache:
    """The callers by the digests of their keys. Unknown keys are not kept."""

    def __init__(self, pool: LoopPool, clock: Callable[[], float] = time.monotonic) -> None:
        self._pool = pool
        self._clock = clock
        self._known: dict[bytes, _Known] = {}
        self._asked: dict[bytes, asyncio.Future[Caller | None]] = {}
        self._in_flight: dict[bytes, asyncio.Future[Caller | None]] = {}
        self._looking: asyncio.Task[None] | None = None
        self._used: dict[UUID, float] = {}
        self._noted_at = clock()
        self._noting: asyncio.Task[None] | None = None
        self._notes_use = True

    async def identify(self, secret: str) -> Caller | None:
        """Return the caller with this key. None: the key is unknown or revoked.

        Raises what the database raises when it is unreachable.
        """
        digest = to_digest(secret)
        known = self._known.get(digest)
        age = self._clock() - known.asked_at if known else KEPT_SECONDS
        if known is None or age >= KEPT_SECONDS:
            return await asyncio.shield(self._ask(digest))
        if age >= REFRESHED_AFTER and digest not in self._in_flight:
            self._ask(digest)
        return known.caller

    def note_use(self, key_id: UUID) -> None:
        """Note that a key is being used. It is recorded later."""
        if not self._notes_use:
            return
        self._used[key_id] = self._clock()
        if self._noting is None:
            self._noting = asyncio.create_task(self._record_use(), context=Context())

    async def close(self) -> None:
        """Wait for the look-up that runs, and record what was used."""
        if self._looking is not None:
            await self._looking
        if self._noting is not None:
            self._noting.cancel()
            await asyncio.wait([self._noting])
            self._noting = None
            await self._write_use()

    def _ask(self, digest: bytes) -> asyncio.Future[Caller | None]:
        """Have a key looked up, once however many requests ask for it."""
        asked = self._asked.get(digest)
        if asked is None:
            asked = self._asked[digest] = asyncio.get_running_loop().create_future()
            asked.add_done_callback(_retrieve)
            if self._looking is None:
                # In an empty context: the first caller's correlation id is not the look-up's.
                self._looking = asyncio.create_task(self._look_up_all(), context=Context())
        return asked

    async def _look_up_all(self) -> None:
        """Look up what was asked for: all that waits, in one statement."""
        while self._asked:
            self._in_flight, self._asked = self._asked, {}
            await self._look_up()
            self._in_flight = {}
        self._looking = None

    async def _look_up(self) -> None:
        asked_at = self._clock()
        try:
            found = await self._pool.read(api_keys.find_all, list(self._in_flight))
        except Exception as error:  # noqa: BLE001 - the requests that wait raise it
            failed = list(self._in_flight.values())
            if is_silent(error):  # the others have waited for the same server
                failed += self._asked.values()
                self._asked = {}
            for each in failed:
                each.set_exception(error)
            return
        for digest, waiting in self._in_flight.items():
            caller = found.get(digest)
            self._keep(digest, caller, asked_at)
            waiting.set_result(caller)

    def _keep(self, digest: bytes, caller: Caller | None, asked_at: float) -> None:
        self._known.pop(digest, None)
        if caller is not None:
            self.note_use(caller.id)  # a key in use is looked up again and again
            self._known[digest] = _Known(caller, asked_at)
            if len(self._known) > MAX_KEYS:
                del self._known[next(iter(self._known))]  # the one looked up the longest time ago

    async def _record_use(self) -> None:
        """Record the use of all keys that were noted, `NOTED_EVERY` seconds after the last time."""
        while self._used and self._notes_use:
            await asyncio.sleep(self._noted_at + NOTED_EVERY - self._clock())
            self._noted_at = self._clock()
            await self._write_use()
        self._noting = None

    async def _write_use(self) -> None:
        used, self._used, now = self._used, {}, self._clock()
        if not used:
            return
        seconds_ago = {key_id: now - at for key_id, at in used.items()}
        try:
            await self._pool.run_statements(api_keys.note_use, seconds_ago)
        except InsufficientPrivilege:
            self._notes_use = False
            log.warning("api_keys.use_not_recorded", error=USE_NOT_RECORDED)
        except DATABASE_ERRORS as error:
            log.warning("api_keys.use_not_recorded", error=str(error))


def _retrieve(asked: "asyncio.Future[Caller | None]") -> None:
    """Note the error of a refresh that no request waits for as seen."""
    if not asked.cancelled():
        asked.exception()
