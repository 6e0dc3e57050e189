"""DATABASE_URL: whether libpq accepts every part of it, asked without a server.

postgresql://user:password@host1:5432,host2:5432/database?target_session_attrs=read-write
"""

import re

import psycopg
from psycopg.conninfo import make_conninfo

from publish_worker_client.servers.database_url import read_url

SCHEMES = ("postgresql://", "postgres://", "postgresql+")
NOWHERE = "/nonexistent"
"""A folder for libpq to look for a socket in: it checks every parameter before it looks."""
UNREADABLE = "it cannot be read (percent-encode the password)"
UNKNOWN_PARAMETER = re.compile(r'invalid URI query parameter: "\w+"')
"""libpq's text for a misspelt parameter. Others of its texts quote the password."""
REACHED = "connection to server"


class InvalidDatabaseUrl(ValueError):
    """A database's URL cannot be used; the text says why, and has no password."""


def check_parameters(database_url: str) -> None:
    """Raise InvalidDatabaseUrl unless libpq accepts every parameter. Connects to nothing."""
    if not database_url.startswith(SCHEMES):
        raise InvalidDatabaseUrl("its scheme must be postgresql")
    try:
        given = read_url(database_url)
    except psycopg.ProgrammingError as error:
        text = str(error).strip()
        is_name = UNKNOWN_PARAMETER.fullmatch(text)
        raise InvalidDatabaseUrl(text if is_name else UNREADABLE) from None
    hosts, name = given.get("host", ""), given.get("dbname", "")
    if "@" in hosts.removeprefix("@") + name:  # a part of the password, which errors would show
        raise InvalidDatabaseUrl(UNREADABLE)
    nowhere = {"host": ",".join([NOWHERE] * (hosts.count(",") + 1)), "hostaddr": ""}
    answer = _ask_libpq(make_conninfo(**{**given, **nowhere}))
    if not answer.startswith(REACHED):
        raise InvalidDatabaseUrl(answer)


def _ask_libpq(conninfo: str) -> str:
    connection = psycopg.pq.PGconn.connect_start(conninfo.encode())
    try:
        return connection.error_message.decode(errors="replace").partition("\n")[0]
    finally:
        connection.finish()
