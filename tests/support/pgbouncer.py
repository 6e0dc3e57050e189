"""A real PgBouncer that gives each transaction one of two sessions."""

import os
import shutil
import subprocess
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import psycopg

from tests.support.free_port import free_port
from tests.support.waiting import wait_until

PROGRAM = shutil.which("pgbouncer", path=f"{os.environ['PATH']}:/usr/sbin")
SETTINGS = """
[databases]
* = host={host} port={port} user=postgres
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {listen_port}
unix_socket_dir =
auth_type = any
pool_mode = transaction
default_pool_size = 2
{more}
"""


@contextmanager
def pgbouncer(database_url: str, folder: Path, *, more: str = "") -> Generator[str]:
    """The URL of a PgBouncer for a database that listens on a socket; `more`: its settings."""
    server, port = urlsplit(database_url), free_port()
    place = {name: values[0] for name, values in parse_qs(server.query).items()}
    settings = folder / "pgbouncer.ini"
    settings.write_text(SETTINGS.format(**place, listen_port=port, more=more))
    folder.chmod(0o755)
    user = ["-u", "nobody"] if os.getuid() == 0 else []
    url = f"postgresql://postgres@127.0.0.1:{port}{server.path}"
    with subprocess.Popen([str(PROGRAM), "-q", *user, str(settings)]) as process:
        try:
            wait_until(lambda: _answers(url), "PgBouncer to answer")
            yield url
        finally:
            process.terminate()


def _answers(url: str) -> bool:
    try:
        psycopg.connect(url).close()
    except psycopg.OperationalError:
        return False
    return True
