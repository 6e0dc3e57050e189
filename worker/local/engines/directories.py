"""Where the engines' data and binaries are, and which account may read them; root differs."""

import fcntl
import hashlib
import importlib.metadata
import importlib.util
import os
import pwd
import shutil
import stat
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from worker.local.engines.errors import EngineError

_ROOT_BASE = Path("/var/tmp/publish-worker-0")  # noqa: S108 -- checked before use; homes are closed


@dataclass(frozen=True, kw_only=True)
class Account:
    """The account of the engines: the caller's, or `nobody` for root, which PostgreSQL refuses."""

    uid: int | None = None
    gid: int | None = None
    groups: list[int] | None = None

    def give(self, path: Path) -> None:
        """Give a path to the account; nothing to do for a plain user."""
        if self.uid is not None and self.gid is not None:
            os.chown(path, self.uid, self.gid)


def find_account() -> Account:
    """The account of the engines here."""
    if os.geteuid() != 0:
        return Account()
    nobody = pwd.getpwnam("nobody")
    return Account(uid=nobody.pw_uid, gid=nobody.pw_gid, groups=[])


def find_data_dir(override: Path | None = None) -> Path:
    """Where the engines' data is: `override`, else `.data` here, or for root below /var/tmp.

    Root's folder depends on the working directory: two checkouts have two. Creates nothing.
    """
    if override is not None:
        return override.resolve()
    if os.geteuid() != 0:
        return Path.cwd() / ".data"
    return _ROOT_BASE / hashlib.sha256(os.fsencode(Path.cwd().resolve())).hexdigest()[:12]


def make_directory(directory: Path, account: Account) -> Path:
    """Make the data directory; one that exists keeps its permissions.

    Raises EngineError if `nobody` could not enter it.
    """
    as_root = account.uid is not None
    if as_root and directory.is_relative_to(_ROOT_BASE):
        _make_root_base()
    if not directory.exists():
        directory.mkdir(mode=0o700, parents=True)
        directory.chmod(0o755 if as_root else 0o700)
    closed = [p for p in (directory, *directory.parents) if not p.stat().st_mode & stat.S_IXOTH]
    if as_root and closed:
        raise EngineError(
            f"run by root, the engines run as user nobody, who cannot enter {closed[-1]}: "
            "choose a data directory outside it, or run as a plain user"
        )
    return directory


def make_private(path: Path, account: Account) -> None:
    """Make a folder that only the account can enter; one that exists stays as it is."""
    with suppress(FileExistsError):
        path.mkdir(mode=0o700)
        account.give(path)


def open_private(path: str, flags: int) -> int:
    """Open a file that only its owner can read: an `opener` for `open`."""
    return os.open(path, flags, 0o600)


def _make_root_base() -> Path:
    """Make root's folder; refuse another user's, because anyone can write to /var/tmp."""
    with suppress(FileExistsError):
        _ROOT_BASE.mkdir()
    found = _ROOT_BASE.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != 0:
        raise EngineError(f"{_ROOT_BASE} is not a folder of root's: remove it")
    _ROOT_BASE.chmod(0o755)  # whatever the umask was
    return _ROOT_BASE


def find_package(package: str) -> Path:
    """The folder that holds a wheel's package, as site-packages does; as root a readable copy."""
    spec = importlib.util.find_spec(package)  # does not import it
    if spec is None or spec.origin is None:
        raise EngineError(
            f"{package} is not installed: install publish-worker[embedded], "
            "or set DATABASE_URL and REDIS_URL"
        )
    site = Path(spec.origin).parents[1]
    return site if os.geteuid() != 0 else _readable_copy(site, package)


def _readable_copy(site: Path, package: str) -> Path:
    """Copies a package to where `nobody` can run it, once per version: a venv may lie in a home.

    The layout stays, since the binaries find their libraries by relative path.
    """
    base = _make_root_base()
    target = base / f"{package}-{importlib.metadata.version(package)}"
    with open(base / "lock", "a", opener=open_private) as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # two starts at once copy once
        if not target.exists():
            draft = base / f"{target.name}.new"
            shutil.rmtree(draft, ignore_errors=True)
            for folder in (site / package, site / f"{package}.libs"):
                if folder.exists():
                    shutil.copytree(folder, draft / folder.name)
            for path in (draft, *draft.rglob("*")):
                path.chmod(0o755)
            os.sync()  # or a power cut could leave the new name on empty files
            draft.rename(target)
    return target
