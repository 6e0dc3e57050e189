"""Connections to receivers: look a name up, check its addresses, connect to one of them.

The checked address itself is connected to, without a second look-up, which prevents DNS rebinding.
TLS and the `Host` header use the name.
"""

import asyncio
import ssl
from collections import defaultdict
from collections.abc import AsyncGenerator, Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, suppress
from functools import cached_property
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

from worker.webhooks.addresses import check_addresses
from worker.webhooks.look_ups import Resolve, look_up
from worker.webhooks.urls import Target

LOOK_UPS = 32
"""Threads for look-ups, one per name. A resolver that hangs blocks its thread."""
NEXT_ADDRESS_SECONDS = 3.0
"""The connection timeout for each address of a name but the last one."""
IDLE_SECONDS = 30.0
"""How long an unused connection is kept for the next delivery."""


class CheckedBackend(AsyncNetworkBackend):
    """A network backend that connects only to addresses that it has checked."""

    def __init__(self, *, allow_private: bool, resolve: Resolve | None = None) -> None:
        self._allow_private = allow_private
        self._resolve = resolve
        self._inner = AnyIOBackend()
        self._threads = ThreadPoolExecutor(LOOK_UPS, thread_name_prefix="dns")
        self._pending: dict[tuple[str, int], asyncio.Future[list[str]]] = {}

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,  # noqa: ASYNC109 - httpcore's signature
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> AsyncNetworkStream:
        """Connect to the first address of a name that answers.

        Raises AddressRefused if any address is refused, OSError if the name has none.
        """
        addresses = await self._look_up(host, port)
        check_addresses(addresses, allow_private=self._allow_private)
        connect = self._inner.connect_tcp
        for address in addresses[:-1]:
            with suppress(httpcore.ConnectError, httpcore.ConnectTimeout):
                return await connect(
                    address, port, NEXT_ADDRESS_SECONDS, local_address, socket_options
                )
        return await connect(addresses[-1], port, timeout, local_address, socket_options)

    async def _look_up(self, host: str, port: int) -> list[str]:
        """Share one look-up per name, so that a slow resolver blocks one thread."""
        pending = self._pending.get((host, port))
        if pending is None:
            loop = asyncio.get_running_loop()
            pending = loop.run_in_executor(self._threads, self._resolve or look_up, host, port)
            self._pending[host, port] = pending
            pending.add_done_callback(lambda _: self._pending.pop((host, port)))
        return await asyncio.shield(
            pending
        )  # one caller's timeout must not cancel it for the others

    def close(self) -> None:
        """Stop without waiting for look-ups that still hang."""
        self._threads.shutdown(wait=False, cancel_futures=True)


class Connections:
    """Kept-alive connections, separate per endpoint, so that endpoints do not block each other.

    httpcore's pool scans all its connections at each request, which costs more than the request.
    """

    def __init__(self, backend: CheckedBackend) -> None:
        self._backend = backend
        self._idle: defaultdict[tuple[UUID, Target], list[AsyncHTTP11Connection]]
        self._idle = defaultdict(list)

    @cached_property
    def _ssl(self) -> ssl.SSLContext:
        """Reading the system's certificates takes 20 ms: the first HTTPS connection does it."""
        context = httpcore.default_ssl_context()
        context.set_alpn_protocols(["http/1.1"])
        return context

    @asynccontextmanager
    async def borrow(
        self, endpoint_id: UUID, target: Target
    ) -> AsyncGenerator[AsyncHTTP11Connection]:
        """Lend a kept or a new connection to the target of an endpoint's URL."""
        key = (endpoint_id, target)
        connection = await _take_live(self._idle[key]) or await self._connect(target)
        try:
            yield connection
        finally:
            if connection.is_idle():
                self._idle[key].append(connection)
            else:
                await connection.aclose()

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
        except asyncio.CancelledError:  # timed out; httpcore closes it on other errors only
            await stream.aclose()
            raise

    async def close_idle(self) -> None:
        """Close connections that were unused for too long, or closed by the receiver."""
        every = chain.from_iterable(self._idle.values())
        expired = {connection for connection in every if connection.has_expired()}
        for key, idle in list(self._idle.items()):
            self._idle[key] = [each for each in idle if each not in expired]
            if not self._idle[key]:
                del self._idle[key]
        for connection in expired:
            await connection.aclose()

    async def close(self) -> None:
        """Close all connections."""
        for connection in chain.from_iterable(self._idle.values()):
            await connection.aclose()
        self._idle.clear()
        self._backend.close()


async def _take_live(idle: list[AsyncHTTP11Connection]) -> AsyncHTTP11Connection | None:
    """Take the connection that was used last and that the receiver has not closed."""
    while idle:
        connection = idle.pop()
        if not connection.has_expired():
            return connection
        await connection.aclose()
    return None
