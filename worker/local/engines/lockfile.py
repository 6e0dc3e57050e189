"""The files in a data directory that say which process uses it, and where its engines answer."""

import fcntl
import json
import shutil
import tempfile
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO

from worker.local.engines.directories import Account, open_private
from worker.local.engines.errors import EnginesAlreadyRunning
from worker.local.engines.processes import wait_for

_SOCKET_BASE = "/tmp"  # noqa: S108 -- mkdtemp makes it private; a socket's path has room for 100 bytes


@dataclass(frozen=True, kw_only=True)
class Engines:
    """Where the two engines answer."""

    database_url: str  # postgresql://postgres@/publish_worker?host=<socket directory>&…
    redis_url: str  # redis://default:<password>@127.0.0.1:<port>/0


def find_running(directory: Path) -> Engines | None:
    """Find the engines that a live process, this one or another, runs in `directory`."""
    try:
        with (directory / "lock").open("rb") as lock:
            if try_lock(lock, fcntl.LOCK_SH):
                return None  # the process that wrote engines.json was killed
        record = json.loads((directory / "engines.json").read_text())
    except FileNotFoundError:
        return None
    return Engines(database_url=record["database_url"], redis_url=record["redis_url"])


@contextmanager
def starter_lock(directory: Path) -> Generator[IO[str]]:
    """Lock the directory while this process lives; the kernel unlocks it, however we end.

    Waits up to a second: `find_running` takes the lock too, for a moment.
    """
    with open(directory / "lock", "a+", opener=open_private) as lock:
        if not wait_for(1, lambda: try_lock(lock, fcntl.LOCK_EX)):
            raise EnginesAlreadyRunning(
                f"another process has the engines up in {directory}: "
                "use those, end that process, or choose another DATA_DIR"
            )
        yield lock


def try_lock(lock: IO[str] | IO[bytes], kind: int) -> bool:
    """Lock a file; return False if another process has it locked."""
    try:
        fcntl.flock(lock, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


@contextmanager
def socket_directory(lock: IO[str], account: Account) -> Generator[Path]:
    """Make a folder that only the account can enter. The lock file names it for the next start."""
    lock.seek(0)
    if left := lock.read():  # left by a starter that was killed
        shutil.rmtree(left, ignore_errors=True)
    path = Path(tempfile.mkdtemp(prefix="publish-worker-", dir=_SOCKET_BASE))
    lock.truncate(0)
    lock.write(str(path))
    lock.flush()
    account.give(path)
    try:
        yield path
    finally:
        shutil.rmtree(path, ignore_errors=True)
        lock.truncate(0)


@contextmanager
def write_record(directory: Path, found: Engines, pids: dict[str, int]) -> Generator[None]:
    """Write engines.json for `find_running`: never half of it, and readable only by its owner."""
    path, draft = directory / "engines.json", directory / "engines.json.new"
    with open(draft, "w", opener=open_private) as file:
        json.dump(asdict(found) | {"pids": pids}, file, indent=2)
    draft.replace(path)
    try:
        yield
    finally:
        path.unlink(missing_ok=True)
