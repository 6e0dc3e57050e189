"""What is written down in a data directory: who serves it, and where its engines answer."""

import fcntl
import json
import shutil
import tempfile
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO

from worker.local.engines.directories import Account, private
from worker.local.engines.errors import EnginesAlreadyRunning
from worker.local.engines.processes import within

_SOCKET_BASE = "/tmp"  # noqa: S108 -- mkdtemp makes it private; a socket's path has room for 100 bytes


@dataclass(frozen=True, kw_only=True)
class Engines:
    """Where the two engines answer."""

    database_url: str  # postgresql://postgres@/publish_worker?host=<socket directory>&…
    redis_url: str  # redis://:<password>@127.0.0.1:<port>/0


def running(directory: Path) -> Engines | None:
    """The engines that a live process, this one or another, has up in `directory`."""
    try:
        with (directory / "lock").open("rb") as lock:
            if take(lock, fcntl.LOCK_SH):
                return None  # whoever wrote engines.json was killed
        record = json.loads((directory / "engines.json").read_text())
    except FileNotFoundError:
        return None
    return Engines(database_url=record["database_url"], redis_url=record["redis_url"])


@contextmanager
def starter_lock(directory: Path) -> Generator[IO[str]]:
    """Holds the directory while this process lives; the kernel lets go of it, however we end.

    Waits a moment, since `running` takes the lock too, for as long as it takes to look.
    """
    with open(directory / "lock", "a+", opener=private) as lock:
        if not within(1, lambda: take(lock, fcntl.LOCK_EX)):
            raise EnginesAlreadyRunning(
                f"another process has the engines up in {directory}: "
                "use those, or end it, or choose another data directory"
            )
        yield lock


def take(lock: IO[str] | IO[bytes], kind: int) -> bool:
    """Lock a file if nobody else has it locked."""
    try:
        fcntl.flock(lock, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


@contextmanager
def socket_directory(lock: IO[str], account: Account) -> Generator[Path]:
    """A folder that only the account enters. The lock file names it, so none stays for good."""
    lock.seek(0)
    if left := lock.read():  # by a starter that was killed
        shutil.rmtree(left, ignore_errors=True)
    path = Path(tempfile.mkdtemp(prefix="publish-worker-", dir=_SOCKET_BASE))
    lock.truncate(0)
    lock.write(str(path))
    lock.flush()
    account.own(path)
    try:
        yield path
    finally:
        shutil.rmtree(path, ignore_errors=True)
        lock.truncate(0)


@contextmanager
def recorded(directory: Path, found: Engines, pids: dict[str, int]) -> Generator[None]:
    """engines.json, for `running`: whole or not there, and for the owner's eyes only."""
    path, draft = directory / "engines.json", directory / "engines.json.new"
    with open(draft, "w", opener=private) as file:
        json.dump(asdict(found) | {"pids": pids}, file, indent=2)
    draft.replace(path)
    try:
        yield
    finally:
        path.unlink(missing_ok=True)
