"""Look-ups of names: when an endpoint is registered, and again at each connection.

The system's resolver may block for half a minute, and cannot be interrupted. So each look-up has a
thread, its caller waits for a few seconds at most, and the names of one workspace occupy only a few
of the threads: names that never resolve delay no other workspace. An IP address needs none.
"""

import asyncio
import socket
import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any

from worker.webhooks.addresses import check_addresses, parse_address
from worker.webhooks.urls import parse_url

Resolve = Callable[[str, int], list[str]]

LOOK_UP_SECONDS = 5.0
"""How long an attempt waits for a name's addresses."""
REGISTRATION_SECONDS = 2.0
"""How long a registration waits for them."""
THREADS = 32
PER_WORKSPACE = 4
"""Threads for the names of one workspace."""


class NotResolved(OSError):
    """The name has no addresses, or they were not found in time."""


class LookUpsBusy(NotResolved):
    """As many look-ups as are allowed are running."""

    def __init__(self, *, of_workspace: bool) -> None:
        super().__init__("Too many names are being looked up. Try again in a few seconds.")
        self.of_workspace = of_workspace
        """Whether the workspace itself has too many, or all together."""


def look_up(host: str, port: int) -> list[str]:
    """Return the addresses of a name; raises OSError if it has none. It may block for long."""
    found: list[Any] = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(sockaddr[0]) for *_, sockaddr in found))


class LookUps:
    """The look-ups that are running, each in a daemon thread: the process ends without them."""

    def __init__(self, resolve: Resolve | None = None, *, threads: int = THREADS) -> None:
        self._resolve = resolve or look_up
        self._threads = threads
        self._lock = threading.Lock()
        self._running: dict[tuple[int, str, int], Future[list[str]]] = {}

    async def resolve(self, workspace_id: int, host: str, port: int) -> list[str]:
        """Return the addresses of a name; wait for a free thread, and for a few seconds in all.

        Raises OSError.
        """
        try:
            async with asyncio.timeout(LOOK_UP_SECONDS):
                while True:
                    try:
                        started = self.start(workspace_id, host, port)
                    except LookUpsBusy:
                        await self._wait_for_one()
                    else:
                        return await asyncio.wrap_future(started)
        except TimeoutError:
            message = f"The name {host} was not resolved within {LOOK_UP_SECONDS:g} seconds."
            raise NotResolved(message) from None

    def start(self, workspace_id: int, host: str, port: int) -> Future[list[str]]:
        """Start a look-up, or join the one of the same name. Raises LookUpsBusy.

        A caller that stops waiting does not stop the look-up.
        """
        future = Future[list[str]]()
        future.set_running_or_notify_cancel()
        if parse_address(host):
            future.set_result([host])
            return future
        key = (workspace_id, host, port)
        with self._lock:
            if key in self._running:
                return self._running[key]
            own = sum(owner == workspace_id for owner, *_ in self._running)
            if own >= PER_WORKSPACE or len(self._running) >= self._threads:
                raise LookUpsBusy(of_workspace=own >= PER_WORKSPACE)
            thread = threading.Thread(target=self._run, args=(key, future), name="dns", daemon=True)
            thread.start()  # if the system refuses it, nothing is registered
            self._running[key] = future
        return future

    def _run(self, key: tuple[int, str, int], future: Future[list[str]]) -> None:
        found: list[str] = []
        error: Exception = NotResolved("The name has no addresses.")
        try:
            found = self._resolve(*key[1:])
        except Exception as failure:  # noqa: BLE001 - the waiting callers raise it
            error = failure
        with self._lock:
            del self._running[key]
        if found:
            future.set_result(found)
        else:
            future.set_exception(error)

    async def _wait_for_one(self) -> None:
        with self._lock:
            waiting = list(map(asyncio.wrap_future, self._running.values()))
        try:
            if waiting:
                await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for each in waiting:
                each.cancel()


REQUEST_LOOK_UPS = LookUps(threads=THREADS // 2)
"""The look-ups of this process's requests: registrations and test events."""


def check_url(
    url: str, workspace_id: int, *, allow_private: bool, look_ups: LookUps = REQUEST_LOOK_UPS
) -> None:
    """Raise AddressRefused if a URL is not allowed; this looks up its name, for two seconds.

    A name whose addresses are not found passes, as each connection checks them again. Raises
    LookUpsBusy if the workspace has too many look-ups running.
    """
    target = parse_url(url, allow_private=allow_private)
    try:
        found = look_ups.start(workspace_id, target.host, target.port).result(REGISTRATION_SECONDS)
    except LookUpsBusy as busy:
        if busy.of_workspace:
            raise
    except (OSError, UnicodeError):  # the resolver's codec refuses some names
        pass
    else:
        check_addresses(found, allow_private=allow_private)
