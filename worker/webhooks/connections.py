"""Connections to receivers: look a name up, check its addresses, connect to one of them.

The checked address itself is connected to, without a second look-up, which prevents DNS rebinding.
TLS and the `Host` header use the name.
"""

import asyncio
import ssl
from collections import defaultdict
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress
from functools import cached_property
from itertools import chain
from uuid import UUID

import certifi

from schemas.values.delivery import Receiver
from worker.webhooks.addresses import check_addresses
from worker.webhooks.connection import Connection
from worker.webhooks.look_ups import LookUps
from worker.webhooks.urls import Target

NEXT_ADDRESS_SECONDS = 3.0
"""The connection timeout for each address of a name but the last one."""
ADDRESSES = 4
"""Addresses of a name that are tried."""


class Connections:
    """Kept-alive connections, separate per endpoint, so that endpoints do not block each other."""

    def __init__(self, look_ups: LookUps, *, allow_private: bool) -> None:
        self._look_ups = look_ups
        self._allow_private = allow_private
        self._idle: defaultdict[tuple[UUID, Target], list[Connection]] = defaultdict(list)

    @cached_property
    def _ssl(self) -> ssl.SSLContext:
        """Reading the system's certificates takes 20 ms: the first HTTPS connection does it."""
        return create_ssl_context()

    @asynccontextmanager
    async def borrow(self, receiver: Receiver, target: Target) -> AsyncGenerator[Connection]:
        """Lend a kept or a new connection to the target of an endpoint's URL."""
        key = (receiver.id, target)
        connection = await _take_usable(self._idle[key]) or await self._connect(receiver, target)
        try:
            yield connection
        finally:
            if connection.end_exchange():
                self._idle[key].append(connection)
            else:
                connection.close()

    async def _connect(self, receiver: Receiver, target: Target) -> Connection:
        """Connect to the first address of a name that answers.

        Raises AddressRefused if any address is refused, OSError if none answers.
        """
        found = await self._look_ups.resolve(receiver.workspace_id, target.host, target.port)
        check_addresses(found, allow_private=self._allow_private)
        context = self._ssl if target.scheme == "https" else None
        *others, last = found[:ADDRESSES]
        for address in others:
            with suppress(OSError):
                async with asyncio.timeout(NEXT_ADDRESS_SECONDS):
                    return await Connection.open(address, target.port, context, target.host)
        return await Connection.open(last, target.port, context, target.host)

    async def close_idle(self) -> None:
        """Close connections that were unused for too long, or closed by the receiver."""
        for key in list(self._idle):
            for connection in self._idle.pop(key, []):  # no attempt can borrow it meanwhile
                if await connection.is_usable():
                    self._idle[key].append(connection)
                else:
                    connection.close()

    def close(self) -> None:
        """Close all connections."""
        for connection in chain.from_iterable(self._idle.values()):
            connection.close()
        self._idle.clear()


def create_ssl_context() -> ssl.SSLContext:
    """Trust the system's certificate authorities, and Mozilla's, as images may have none."""
    context = ssl.create_default_context()
    context.load_verify_locations(certifi.where())
    context.set_alpn_protocols(["http/1.1"])
    return context


async def _take_usable(idle: list[Connection]) -> Connection | None:
    """Take the connection that was used last and that the receiver has not closed."""
    while idle:
        connection = idle.pop()
        if await connection.is_usable():
            return connection
        connection.close()
    return None
