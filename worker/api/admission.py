"""Admission: how much one API key, one workspace and all callers together may use of this process.

The counts are in this process's memory: no request costs a round trip more, and with several API
processes each admits as much.
"""

import asyncio
import time
from collections.abc import AsyncGenerator, Callable, Hashable
from contextlib import asynccontextmanager
from dataclasses import dataclass

from starlette.requests import Request

from schemas.values.caller import Caller
from worker.api.problems import OVERLOADED, TOO_MANY_REQUESTS, ApiProblem

AT_ONCE = 4
"""Requests of one workspace that are worked on at once; further ones wait for their turn."""
ALL_AT_ONCE = 20
"""Requests of all callers that are worked on at once. Ten of them may be tests of webhooks, which
need no database connection most of the time."""
TURN_SECONDS = 10.0
"""The longest wait for a turn."""


@dataclass(frozen=True, kw_only=True)
class Limits:
    """What one account may use."""

    owner: str
    """Whose account it is, for people."""
    requests: int
    """Requests in hand at the same time, including those that wait."""
    body_bytes: int
    """The size of their bodies together."""
    per_second: int
    """Requests in a second, on average."""
    burst: int
    """Requests at once after a pause."""
    at_once: int = AT_ONCE
    """Requests that are worked on at the same time."""


MIB = 1024 * 1024
KEY = Limits(
    owner="This API key", requests=200, body_bytes=16 * MIB, per_second=2_000, burst=10_000
)
WORKSPACE = Limits(
    owner="This workspace", requests=400, body_bytes=32 * MIB, per_second=4_000, burst=20_000
)
PUBLIC = Limits(owner="This address", requests=400, body_bytes=MIB, per_second=20_000, burst=20_000)
"""A route that needs no key. No rate: a probe must not fail because others call it too."""
PROCESS = Limits(
    owner="This server",
    requests=3_000,
    body_bytes=256 * MIB,
    per_second=20_000,
    burst=20_000,
    at_once=ALL_AT_ONCE,
)


class UsageAccount:
    """What one key, workspace or process uses now."""

    def __init__(self, limits: Limits, clock: Callable[[], float]) -> None:
        self.limits = limits
        self.slots = asyncio.Semaphore(limits.at_once)
        self.requests = 0
        self.body_bytes = 0
        self._clock = clock
        self._saved = float(limits.burst)
        self._saved_at = clock()

    def begin(self) -> None:
        """Count one more request. Raises ApiProblem."""
        now, limits = self._clock(), self.limits
        earned = (now - self._saved_at) * limits.per_second
        self._saved, self._saved_at = min(self._saved + earned, limits.burst), now
        if self._saved < 1:
            raise self._refuse(f"sends more than {limits.per_second} requests a second")
        if self.requests >= limits.requests:
            raise self._refuse(f"has {limits.requests} requests in hand, the most it may have")
        self._saved -= 1
        self.requests += 1

    def add_body(self, size: int) -> None:
        """Count a part of a body."""
        self.body_bytes += size

    def check_body(self) -> None:
        """Raise ApiProblem if the bodies together are too large."""
        if self.body_bytes > self.limits.body_bytes:
            raise self._refuse(f"sends more than {self.limits.body_bytes // MIB} MiB at once")

    def end(self, body_bytes: int) -> None:
        """Count a request as finished."""
        self.requests -= 1
        self.body_bytes -= body_bytes

    def refuse_wait(self) -> ApiProblem:
        """The problem of a request whose turn has not come."""
        at_once = self.limits.at_once
        return self._refuse(f"has had {at_once} requests worked on for {TURN_SECONDS:.0f} seconds")

    def _refuse(self, reason: str) -> ApiProblem:
        if self.limits.owner == PROCESS.owner:
            return ApiProblem(OVERLOADED)
        detail = f"{self.limits.owner} {reason}; nothing was done. Try again in a second."
        return ApiProblem(TOO_MANY_REQUESTS, detail)


class Turn:
    """One request: the accounts it is counted in, and whether it is being worked on."""

    def __init__(self) -> None:
        self._accounts: list[UsageAccount] = []
        self._slots_of: list[UsageAccount] = []
        self._held: list[UsageAccount] = []
        self._body_bytes = 0

    def join(self, account: UsageAccount) -> None:
        """Be counted in an account. Raises ApiProblem."""
        account.begin()
        self._accounts.append(account)

    def use_slots_of(self, *accounts: UsageAccount) -> None:
        """Wait for a slot of each account, in this order, counted in it or not."""
        self._slots_of = list(accounts)

    def add_body(self, size: int) -> None:
        """Count a part of the body. Raises ApiProblem."""
        self._body_bytes += size
        for account in self._accounts:
            account.add_body(size)
        for account in self._accounts:
            account.check_body()

    def leave(self) -> None:
        """Be counted no more."""
        for account in self._accounts:
            account.end(self._body_bytes)

    @asynccontextmanager
    async def working(self) -> AsyncGenerator[None]:
        """Run the block when the slots are free. Raises ApiProblem."""
        try:
            await self._start()
            yield
        finally:
            self._stop()

    @asynccontextmanager
    async def waiting(self) -> AsyncGenerator[None]:
        """Within `working`: the block waits for something else, and leaves the turn to others."""
        self._stop()
        yield
        await self._start()

    async def _start(self) -> None:
        try:
            async with asyncio.timeout(TURN_SECONDS):
                for account in self._slots_of:
                    await account.slots.acquire()
                    self._held.append(account)
        except TimeoutError:
            missing = self._slots_of[len(self._held)]
            is_counted = missing in self._accounts
            raise missing.refuse_wait() if is_counted else ApiProblem(OVERLOADED) from None

    def _stop(self) -> None:
        while self._held:
            self._held.pop().slots.release()


def current_turn(request: Request) -> Turn:
    """The turn of the request that is being worked on."""
    return request.state.turn


class Admission:
    """The accounts of this process; those of keys and workspaces are made when they are needed."""

    def __init__(
        self,
        *,
        key: Limits = KEY,
        workspace: Limits = WORKSPACE,
        process: Limits = PROCESS,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.process = UsageAccount(process, clock)
        self._key, self._workspace, self._clock = key, workspace, clock
        self._accounts: dict[Hashable, UsageAccount] = {}

    def accounts(self, caller: Caller | None, route: str) -> list[UsageAccount]:
        """A caller's accounts, the one with its slots last. Without a key: the one of the route."""
        if caller is None:
            return [self._find(route, PUBLIC)]
        key = self._find(caller.id, self._key)
        if caller.workspace_id is None:
            return [key]
        return [key, self._find(caller.workspace_id, self._workspace)]

    def _find(self, owner: Hashable, limits: Limits) -> UsageAccount:
        found = self._accounts.get(owner)
        if found is None:
            found = self._accounts[owner] = UsageAccount(limits, self._clock)
        return found
