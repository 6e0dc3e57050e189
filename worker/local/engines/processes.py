"""Engines as processes: started in sessions of their own, waited for, and ended."""

import os
import signal
import subprocess
import time
from collections.abc import Callable
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import IO

from worker.local.engines.directories import Account, open_private
from worker.local.engines.errors import EngineError
from worker.local.guard import Guard

_ENVIRONMENT = {"PATH": os.defpath, "LC_ALL": "C"}  # without the caller's PG* variables and secrets
_START_SECONDS = 60  # after a crash up to max_wal_size is replayed first
_STOP_SECONDS = 30


@dataclass(frozen=True, kw_only=True)
class Engine:
    """An engine that was started."""

    name: str
    process: subprocess.Popen[bytes]
    log: Path

    def has_ended(self) -> bool:
        """Whether its process has ended."""
        return self.process.poll() is not None


def popen(
    command: list[str | Path], output: IO[bytes] | int, account: Account
) -> subprocess.Popen[bytes]:
    """Start a child in a session of its own, which Ctrl-C in the terminal does not reach."""
    return subprocess.Popen(  # noqa: S603 -- our own commands
        command,
        bufsize=0,
        stdin=subprocess.PIPE,
        stdout=output,
        stderr=subprocess.STDOUT,
        cwd="/",  # the account may not enter ours
        env=_ENVIRONMENT,
        user=account.uid,
        group=account.gid,
        extra_groups=account.groups,
        umask=0o077,
        start_new_session=True,
    )


@dataclass(frozen=True)
class Starter:
    """What it takes to start an engine; leaving `stack` ends it."""

    directory: Path
    account: Account
    durable: bool
    guard: Guard
    stack: ExitStack

    def spawn(self, name: str, command: list[str | Path], config: str = "") -> Engine:
        """Start an engine, its log in the data directory and its settings, if any, on its stdin."""
        log = self.directory / f"{name}.log"
        with open(log, "wb", opener=open_private) as output:
            process = popen(command, output, self.account)
        engine = Engine(name=name, process=process, log=log)
        self.stack.callback(end, process.pid, engine.has_ended)
        self.guard.end_engine(process.pid)
        if process.stdin is not None:
            with suppress(BrokenPipeError):  # the wait for its answer finds out that it has ended
                process.stdin.write(config.encode())
            process.stdin.close()
        return engine


def await_answer(engine: Engine, answers: Callable[[], bool]) -> None:
    """Wait until the engine answers; raise EngineError if it ends or takes too long."""
    if wait_for(_START_SECONDS, lambda: engine.has_ended() or answers()) and not engine.has_ended():
        return
    failure = "ended" if engine.has_ended() else f"does not answer after {_START_SECONDS} s"
    raise EngineError(
        f"{engine.name} {failure}; see {engine.log}, or set DATABASE_URL and REDIS_URL to engines "
        f"of your own. The end of its log: {last_lines(engine.log.read_text(errors='replace'))}"
    )


def wait_for(seconds: float, condition: Callable[[], bool]) -> bool:
    """Wait until the condition is true; return False if it is not within `seconds`."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.01)
    return True


def last_lines(text: str) -> str:
    """The last five lines of a log, indented."""
    return "".join(f"\n    {line}" for line in text.strip().splitlines()[-5:])


def end(pid: int, has_ended: Callable[[], bool]) -> None:
    """End an engine. Both take SIGINT as a prompt and orderly shutdown."""
    for number, seconds in ((signal.SIGINT, _STOP_SECONDS), (signal.SIGKILL, 5)):
        if has_ended():
            return
        with suppress(ProcessLookupError):
            os.kill(pid, number)
        if wait_for(seconds, has_ended):
            return


def end_leftovers(directory: Path) -> None:
    """End the engines of a starter that was killed. The caller holds the lock."""
    (directory / "engines.json").unlink(missing_ok=True)
    for data, file in (
        (directory / "postgres", "postmaster.pid"),
        (directory / "valkey", "valkey.pid"),
    ):
        with suppress(FileNotFoundError, ValueError, IndexError):
            pid = int((data / file).read_text().split()[0])
            end(pid, partial(_has_left, pid, data))
            if _exists(pid):  # another program's: PostgreSQL would refuse to start
                (data / file).unlink()


def _has_left(pid: int, data: Path) -> bool:
    """Whether `pid` is not an engine on `data`: the system may have given the number again."""
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
