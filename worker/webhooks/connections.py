"""Connections to receivers: a name is looked up, its addresses checked, and one connected to.

There is no second look-up between check and connection, so a name that leads to a public address
first and to a private one then gains nothing. TLS and `Host` keep the name.
"""

import asyncio
from collections import defaultdict
from collections.abc import AsyncGenerator, Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, suppress
from itertools import chain
from typing import Any
from uuid import UUID

import httpcore
from httpcore import (
    AnyIOBackend,
    AsyncHTTP11Connection,
    AsyncNetworkBackend,
    AsyncNetworkStream,
)

from worker.webhooks.addresses import Resolve, Target, check_addresses, look_up

LOOK_UPS = 32
"""At once, one for each name. A resolver that hangs holds a thread for as long as it likes."""
PATIENCE_SECONDS = 3.0
"""For each address of a name but the last: one that leads nowhere leaves time for the next."""
IDLE_SECONDS = 30.0
"""How long a connection is kept for the next delivery."""


class CheckedBackend(AsyncNetworkBackend):
    """Connects to checked addresses only."""

    def __init__(self, *, allow_private: bool, resolve: Resolve | None = None) -> None:
        self._allow_private = allow_private
        self._resolve = resolve
        self._inner = AnyIOBackend()
        self._threads = ThreadPoolExecutor(LOOK_UPS, thread_name_prefix="dns")
        self._under_way: dict[tuple[str, int], asyncio.Future[list[str]]] = {}

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,  # noqa: ASYNC109 - httpcore's signature
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> AsyncNetworkStream:
        """Connect to the first address of a name that answers.

        Raises AddressRefused if any of them is refused, OSError if the name has none.
        """
        addresses = await self._look_up(host, port)
        check_addresses(addresses, allow_private=self._allow_private)
        connect = self._inner.connect_tcp
        for address in addresses[:-1]:
            with suppress(httpcore.ConnectError, httpcore.ConnectTimeout):
                return await connect(address, port, PATIENCE_SECONDS, local_address, socket_options)
        return await connect(addresses[-1], port, timeout, local_address, socket_options)

    async def _look_up(self, host: str, port: int) -> list[str]:
        """One look-up for all who want the same name now: a slow resolver holds one thread."""
        under_way = self._under_way.get((host, port))
        if under_way is None:
            loop = asyncio.get_running_loop()
            under_way = loop.run_in_executor(self._threads, self._resolve or look_up, host, port)
            self._under_way[host, port] = under_way
            under_way.add_done_callback(lambda _: self._under_way.pop((host, port)))
        return await asyncio.shield(under_way)  # who gives up must not end it for the others

    def close(self) -> None:
        """Wait for no look-up that still hangs."""
        self._threads.shutdown(wait=False, cancel_futures=True)


class Lines:
    """Kept connections of each endpoint: none waits for another's, even at the same host.

    No pool of httpcore's: that one looks at each of its connections at each request, which costs
    more than the request.
    """

    def __init__(self, backend: CheckedBackend) -> None:
        self._backend = backend
        self._ssl = httpcore.default_ssl_context()
        self._ssl.set_alpn_protocols(["http/1.1"])
        self._idle: defaultdict[tuple[UUID, Target], list[AsyncHTTP11Connection]]
        self._idle = defaultdict(list)

    @asynccontextmanager
    async def to(self, endpoint_id: UUID, target: Target) -> AsyncGenerator[AsyncHTTP11Connection]:
        """Lend a connection to where an endpoint's URL leads, a kept one or a new one."""
        key = (endpoint_id, target)
        line = await _still_good(self._idle[key]) or await self._connect(target)
        try:
            yield line
        finally:
            if line.is_idle():
                self._idle[key].append(line)
            else:
                await line.aclose()

    async def _connect(self, target: Target) -> AsyncHTTP11Connection:
        stream = await self._backend.connect_tcp(target.host, target.port)
        if target.scheme == "https":
            stream = await self._start_tls(stream, target.host)
        scheme, host = target.scheme.encode(), target.host.encode()
        origin = httpcore.Origin(scheme, host, target.port)
        return AsyncHTTP11Connection(origin, stream, keepalive_expiry=IDLE_SECONDS)

    async def _start_tls(self, stream: AsyncNetworkStream, host: str) -> AsyncNetworkStream:
        try:
            return await stream.start_tls(self._ssl, server_hostname=host)
        except asyncio.CancelledError:  # out of time: httpcore closes it on other errors only
            await stream.aclose()
            raise

    async def close_idle(self) -> None:
        """Close what has not been used for a while, or was closed at the other end."""
        lines = list(chain.from_iterable(self._idle.values()))
        expired = {line for line in lines if line.has_expired()}
        for key, idle in list(self._idle.items()):
            self._idle[key] = [line for line in idle if line not in expired]
            if not self._idle[key]:
                del self._idle[key]
        for line in expired:
            await line.aclose()

    async def close(self) -> None:
        """Close them all."""
        for line in chain.from_iterable(self._idle.values()):
            await line.aclose()
        self._idle.clear()
        self._backend.close()


async def _still_good(idle: list[AsyncHTTP11Connection]) -> AsyncHTTP11Connection | None:
    """Take the connection that was used last, unless it was closed at the other end."""
    while idle:
        line = idle.pop()
        if not line.has_expired():
            return line
        await line.aclose()
    return None
