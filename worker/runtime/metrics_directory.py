"""Directories that processes share their metrics in: temporary ones, and the places in a directory.

A lock of the system shows whether a process lives: it ends with the process, also by SIGKILL.
"""

import atexit
import fcntl
import shutil
import tempfile
import time
from contextlib import suppress
from itertools import count
from pathlib import Path
from typing import IO

PREFIX = "publish-worker-metrics-"
LOCK = "lock"
NEW_SECONDS = 60.0
"""A younger directory may not be locked yet."""

_held: list[IO[bytes]] = []
"""Locked files. A forked process has them too, and keeps the locks as long as it lives."""


def make_directory() -> Path:
    """Make a temporary directory; the end of this process removes it.

    It first removes those whose processes were killed.
    """
    _remove_left(Path(tempfile.gettempdir()))
    path = Path(tempfile.mkdtemp(prefix=PREFIX))
    _try_lock(path / LOCK)
    atexit.register(shutil.rmtree, path, ignore_errors=True)
    return path


def take_place(directory: Path, role: str) -> str:
    """Return the first name, `role-0` or a later one, that no living process has taken.

    A process that replaces another one continues its files, so their number does not grow.
    """
    names = (f"{role}-{number}" for number in count())
    return next(name for name in names if _try_lock(directory / f"{name}.{LOCK}"))


def _remove_left(folder: Path) -> None:
    for path in folder.glob(f"{PREFIX}*"):
        with suppress(OSError):  # another user's, or removed meanwhile
            if time.time() - path.stat().st_mtime > NEW_SECONDS and _try_lock(path / LOCK):
                shutil.rmtree(path, ignore_errors=True)


def _try_lock(path: Path) -> bool:
    """Lock a file for as long as this process lives; False: another process has locked it."""
    file = path.open("ab")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        file.close()
        return False
    _held.append(file)
    return True
