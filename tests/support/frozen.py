"""Servers that are frozen: they accept what is sent, and do not answer."""

import signal
from collections.abc import Generator, Iterable
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import psutil
from psycopg import Connection
from redis import Redis


@contextmanager
def frozen_postgres(admin: Connection) -> Generator[None]:
    """Freeze every process of PostgreSQL while the block runs."""
    row = admin.execute("SHOW data_directory").fetchone()
    assert row is not None
    pid = int((Path(row[0]) / "postmaster.pid").read_text().split()[0])
    with _frozen(lambda: [psutil.Process(pid), *psutil.Process(pid).children(recursive=True)]):
        yield


@contextmanager
def frozen_redis(redis: Redis) -> Generator[None]:
    """Freeze Redis while the block runs."""
    server: Any = redis.info("server")
    with _frozen(lambda: [psutil.Process(server["process_id"])]):
        yield


@contextmanager
def _frozen(find: Any) -> Generator[None]:
    stopped: Iterable[psutil.Process] = find()
    try:
        _signal(stopped, signal.SIGSTOP)
        stopped = find()  # one that was started meanwhile
        _signal(stopped, signal.SIGSTOP)
        yield
    finally:
        _signal(stopped, signal.SIGCONT)


def _signal(processes: Iterable[psutil.Process], number: signal.Signals) -> None:
    for process in processes:
        with suppress(psutil.NoSuchProcess):  # such as a worker of autovacuum
            process.send_signal(number)
