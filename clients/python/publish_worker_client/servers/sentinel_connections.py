"""Connections to the primary that a sentinel names, as redis-py has them, with one fault less.

redis-py's own (8.1) stay open if an answer is not read in time. The next command would read that
answer as its own, and a client of a primary that has frozen would stay with it for ever.
"""

from typing import Any

from redis.sentinel import SentinelManagedConnection, SentinelManagedSSLConnection


class SentinelConnection(SentinelManagedConnection):
    """Closed after an error, as any other connection of redis-py."""

    def read_response(
        self,
        disable_decoding: bool = False,
        *,
        disconnect_on_error: bool | None = True,
        **options: Any,
    ) -> Any:
        """Read an answer. Raises RedisError."""
        read: Any = super().read_response
        return read(disable_decoding, disconnect_on_error=disconnect_on_error, **options)


class SentinelTlsConnection(SentinelConnection, SentinelManagedSSLConnection):
    """The same with TLS."""
