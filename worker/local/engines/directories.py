"""Where the engines' data and binaries lie, and who may enter: the part that differs for root."""

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
    """Whom the engines run as: the caller; or `nobody` for root, whom PostgreSQL refuses."""

    uid: int | None = None
    gid: int | None = None
    groups: list[int] | None = None

    def own(self, path: Path) -> None:
        """Give a path to the account; a plain user's is its own already."""
        if self.uid is not None and self.gid is not None:
            os.chown(path, self.uid, self.gid)


def account_of_engines() -> Account:
    """Whom the engines run as here."""
    if os.geteuid() != 0:
        return Account()
    nobody = pwd.getpwnam("nobody")
    return Account(uid=nobody.pw_uid, gid=nobody.pw_gid, groups=[])


def data_dir(override: Path | None = None) -> Path:
    """Where the engines' data lies: `override`, else `.data` here, else (root) below /var/tmp.

    Root's place depends on the working directory, so two checkouts do not meet. Creates nothing.
    """
    if override is not None:
        return override.resolve()
    if os.geteuid() != 0:
        return Path.cwd() / ".data"
    return _ROOT_BASE / hashlib.sha256(os.fsencode(Path.cwd().resolve())).hexdigest()[:12]


def made(directory: Path, account: Account) -> Path:
    """The data directory, made if need be; a folder that was there keeps its permissions, always.

    Raises EngineError if `nobody` could not enter it.
    """
    as_root = account.uid is not None
    if as_root and directory.is_relative_to(_ROOT_BASE):
        _checked_root_base()
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
    """Make a folder that only the account enters; one that is there stays as it is."""
    with suppress(FileExistsError):
        path.mkdir(mode=0o700)
        account.own(path)


def private(path: str, flags: int) -> int:
    """An opener of files that only their owner reads."""
    return os.open(path, flags, 0o600)


def _checked_root_base() -> Path:
    """Root's own folder. In /var/tmp anyone could have put something else in its place."""
    with suppress(FileExistsError):
        _ROOT_BASE.mkdir()
    found = _ROOT_BASE.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != 0:
        raise EngineError(f"{_ROOT_BASE} is not a folder of root's: see who made it, and remove it")
    _ROOT_BASE.chmod(0o755)  # whatever the umask was
    return _ROOT_BASE


def installed(package: str) -> Path:
    """The folder that holds a wheel's package, as site-packages does; as root a readable copy."""
    spec = importlib.util.find_spec(package)  # finds it, and runs nothing of it
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
    base = _checked_root_base()
    target = base / f"{package}-{importlib.metadata.version(package)}"
    with open(base / "lock", "a", opener=private) as lock:
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
