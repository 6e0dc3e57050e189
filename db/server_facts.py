"""What a PostgreSQL server says of itself, for `publish-worker doctor`."""

from dataclasses import dataclass

from db.session import Connection

# Version, whether commits are safe, who asks, and its clock. A standby is refused before this.
READ = """
SELECT split_part(current_setting('server_version'), ' ', 1),
       current_setting('server_version_num')::integer / 10000,
       current_setting('fsync')::boolean AND current_setting('synchronous_commit') <> 'off',
       current_user::text,
       extract(epoch FROM clock_timestamp())::float8
"""


@dataclass(frozen=True, slots=True)
class PostgresFacts:
    """Facts of a server and of the session that asks."""

    version: str
    major: int
    is_durable: bool
    """Whether a commit is on the disk when it is confirmed."""
    role: str
    clock: float
    """Seconds since 1970."""
    is_encrypted: bool
    """Whether this session uses TLS, or cannot be listened to: a socket of this machine."""


def read_facts(tx: Connection) -> PostgresFacts:
    """Read them; needs no table and no right."""
    [row] = tx.execute(READ)
    return PostgresFacts(*row, is_encrypted=bool(tx.pgconn.ssl_in_use))
