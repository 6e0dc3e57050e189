"""Engines as processes: started apart from the terminal, waited for, and ended whatever happens."""

import os
import signal
import subprocess
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import IO

from worker.local.engines.directories import Account
from worker.local.engines.errors import EngineError

_ENVIRONMENT = {"PATH": os.defpath, "LC_ALL": "C"}  # nothing of the caller's: no PG*, no secrets
_START_SECONDS = 60  # after a crash up to max_wal_size is replayed first
_STOP_SECONDS = 30


@dataclass(frozen=True, kw_only=True)
class Engine:
    """An engine that was started."""

    name: str
    process: subprocess.Popen[bytes]
    log: Path

    def ended(self) -> bool:
        """Whether its process is gone."""
        return self.process.poll() is not None


def popen(
    command: list[str | Path], output: IO[bytes] | int, account: Account
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


def tell(process: subprocess.Popen[bytes], text: str, *, last: bool = False) -> None:
    """Writes to a child's stdin; whoever waits for the child finds out if it has ended."""
    if process.stdin is not None:
        with suppress(BrokenPipeError):
            process.stdin.write(text.encode())
        if last:
            process.stdin.close()


def await_answer(engine: Engine, answers: Callable[[], bool]) -> None:
    """Returns when the engine answers; raises EngineError when it ended or takes too long."""
    if within(_START_SECONDS, lambda: engine.ended() or answers()) and not engine.ended():
        return
    failure = "ended" if engine.ended() else f"does not answer after {_START_SECONDS} s"
    raise EngineError(
        f"{engine.name} {failure}; see {engine.log}, or set DATABASE_URL and REDIS_URL to engines "
        f"of your own. It said: {last_lines(engine.log.read_text(errors='replace'))}"
    )


def within(seconds: float, condition: Callable[[], bool]) -> bool:
    """Whether the condition, asked again and again, comes true in time."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.01)
    return True


def last_lines(text: str) -> str:
    """The last five lines of a log, indented."""
    return "".join(f"\n    {line}" for line in text.strip().splitlines()[-5:])


@contextmanager
def watchdog(sockets: Path) -> Generator[subprocess.Popen[bytes]]:
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
    process = popen(command, subprocess.DEVNULL, Account())
    try:
        yield process
    finally:
        tell(process, "stop\n", last=True)
        process.wait()


def end(pid: int, ended: Callable[[], bool]) -> None:
    """Ends an engine: SIGINT is a prompt and orderly shutdown to both."""
    for number, seconds in ((signal.SIGINT, _STOP_SECONDS), (signal.SIGKILL, 5)):
        if ended():
            return
        with suppress(ProcessLookupError):
            os.kill(pid, number)
        if within(seconds, ended):
            return


def end_leftovers(directory: Path) -> None:
    """Ends the engines of a starter that was killed. The caller holds the lock."""
    (directory / "engines.json").unlink(missing_ok=True)
    for data, file in (
        (directory / "postgres", "postmaster.pid"),
        (directory / "valkey", "valkey.pid"),
    ):
        with suppress(FileNotFoundError, ValueError, IndexError):
            pid = int((data / file).read_text().split()[0])
            end(pid, partial(_serves_not, pid, data))
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
