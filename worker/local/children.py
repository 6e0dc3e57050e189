"""The API, the worker and beat as child processes, for `up` and `demo`: started, watched, ended.

None outlives us: a small shell ends them if we are killed before we can.
"""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import IO, Any

from worker.runtime.settings import Settings, SettingsError

PROCESSES = ("api", "worker", "beat")
WORKER_PROCESSES = 2
ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
STOP_SECONDS = 20.0
"""For the batch in hand: `worker.publish.run` hands over after five seconds."""

_GUARD = """
while read -r pid; do [ "$pid" = stop ] && exit; pids="$pids $pid"; done
kill -TERM $pids
sleep 3
for pid in $pids; do kill -KILL -- "-$pid"; done
"""
_AS_ROOT = "ignore:You're running the worker with superuser privileges"
"""Celery's warning: who runs `up` as root knows. A deployment is warned as ever."""

UVICORN = ("--no-access-log", "--log-level=warning", "--timeout-graceful-shutdown=3")
"""Requests in hand may take three seconds at the end; streams, which never end, are cut off."""

Output = Callable[[str], IO[bytes] | int]


@dataclass(frozen=True)
class Child:
    """One of the processes."""

    name: str
    process: subprocess.Popen[bytes]

    @property
    def has_ended(self) -> bool:
        """Whether it runs no more."""
        return self.process.poll() is not None

    @property
    def fate(self) -> str:
        """How it ended, for people."""
        code = self.process.wait()
        if code < 0:
            return f"{self.name} was ended by {signal.Signals(-code).name}"
        return f"{self.name} ended by itself with exit code {code}"


def listen(settings: Settings) -> socket.socket:
    """Take the API's port: `API_PORT`, or, where nobody chose it and 8000 is taken, a free one."""
    ports = [settings.api_port]
    if "api_port" not in settings.model_fields_set:
        ports.append(0)
    family = socket.AF_INET6 if ":" in settings.api_host else socket.AF_INET
    refused = ""
    for port in ports:
        try:
            return socket.create_server((settings.api_host, port), family=family)
        except OSError as error:
            refused = f"The API cannot listen on {settings.api_host}:{port}: {error.strerror}."
    raise SettingsError(f"{refused} Choose another API_PORT or API_HOST.")


def at(settings: Settings, listener: socket.socket) -> Settings:
    """The settings with the port that the listener has; the public URL follows unless set."""
    port = int(listener.getsockname()[1])
    changed: dict[str, object] = {"api_port": port}
    if "public_base_url" not in settings.model_fields_set:
        changed["public_base_url"] = f"http://localhost:{port}"
    return settings.model_copy(update=changed)


@contextmanager
def children(
    settings: Settings, listener: socket.socket, output: Output
) -> Generator[Sequence[Child]]:
    """Run API, worker and beat until the block ends; `output` says where each one's lines go."""
    celery = [sys.executable, "-m", "celery", "--no-color", "--quiet", "-A", "worker.app"]
    commands = {
        "api": [
            sys.executable,
            "-m",
            "uvicorn",
            "worker.api:app",
            *UVICORN,
            "--fd",
            str(listener.fileno()),
        ],
        "worker": [*celery, "worker", f"--concurrency={WORKER_PROCESSES}"],
        "beat": [*celery, "beat"],
    }
    started: list[Child] = []
    with _guard() as guard:
        try:
            for name, command in commands.items():
                process = subprocess.Popen(  # noqa: S603 - our own commands
                    command,
                    stdin=subprocess.DEVNULL,
                    stdout=output(name),
                    stderr=subprocess.STDOUT,
                    env=environment(settings),
                    pass_fds=[listener.fileno()] if name == "api" else [],
                    start_new_session=True,  # Ctrl-C in the terminal is for us, not for them
                )
                started.append(Child(name, process))
                guard(process.pid)
            listener.close()
            yield started
        finally:
            _end(started)


@contextmanager
def interruptible() -> Generator[None]:
    """The first signal raises KeyboardInterrupt; later ones do not disturb what that sets off."""

    def interrupt(*_: object) -> None:
        on_ending_signal(signal.SIG_IGN)
        raise KeyboardInterrupt

    before = {number: signal.getsignal(number) for number in ENDING}
    on_ending_signal(interrupt)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def on_ending_signal(handler: Any) -> None:
    """Let this handle every signal that asks us to end."""
    for number in ENDING:
        signal.signal(number, handler)


def environment(settings: Settings) -> dict[str, str]:
    """Ours, with every setting as it was resolved."""
    given = settings.model_dump(mode="json", exclude_none=True)
    warnings = filter(None, [os.environ.get("PYTHONWARNINGS"), _AS_ROOT])
    return {
        **os.environ,
        **{name.upper(): str(value) for name, value in given.items()},
        "PYTHONUNBUFFERED": "1",
        "PYTHONWARNINGS": ",".join(warnings),
    }


@contextmanager
def _guard() -> Generator[Callable[[int], None]]:
    """A shell that ends the processes it was told of, if its stdin closes without `stop`."""
    with subprocess.Popen(  # noqa: S603 - our own script
        ["/bin/sh", "-c", _GUARD],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    ) as shell:

        def tell(word: int | str) -> None:
            if shell.stdin is not None:
                with suppress(BrokenPipeError):
                    shell.stdin.write(f"{word}\n".encode())
                    shell.stdin.flush()

        try:
            yield tell
        finally:
            tell("stop")


def _end(started: Sequence[Child]) -> None:
    """SIGTERM, time to finish the batch in hand, then SIGKILL to whatever is left of each group."""
    for child in started:
        child.process.terminate()
    deadline = time.monotonic() + STOP_SECONDS
    for child in started:
        with suppress(subprocess.TimeoutExpired):
            child.process.wait(max(deadline - time.monotonic(), 0))
        with suppress(ProcessLookupError):
            os.killpg(child.process.pid, signal.SIGKILL)
        child.process.wait()
