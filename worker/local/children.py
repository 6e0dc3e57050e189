"""The API, the worker and beat as child processes of `up` and `demo`."""

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import IO, Any

from pydantic import SecretStr
from pydantic_core import to_json

from worker.local.guard import Guard
from worker.runtime.metrics import DIRECTORY as METRICS_DIRECTORY
from worker.runtime.metrics_directory import make_directory
from worker.runtime.settings import PREFIX, SettingsError, UpSettings

PROCESSES = ("api", "worker", "beat")
WORKER_PROCESSES = 2
END_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
STOP_SECONDS = 20.0
"""Enough for the current batch: a run of `worker.publish.run` ends after five seconds."""

METRICS_LISTEN = ("METRICS_LISTEN", f"{PREFIX}METRICS_LISTEN")
"""Not passed on: two processes cannot listen there, and the API's `/metrics` has everything."""

_AS_ROOT = "ignore:You're running the worker with superuser privileges"
"""Celery's warning, which `up` and `demo` suppress; a deployment still gets it."""

UVICORN = (
    "--no-access-log",
    "--log-level=warning",
    "--timeout-graceful-shutdown=3",
    "--ws=none",
)
"""At the end, requests in progress may take three seconds; streams are cut off."""

Output = Callable[[str], IO[bytes] | int]


@dataclass(frozen=True)
class Child:
    """One of the processes."""

    name: str
    process: subprocess.Popen[bytes]

    @property
    def has_ended(self) -> bool:
        """Whether it has ended."""
        return self.process.poll() is not None

    @property
    def end_text(self) -> str:
        """Say how it ended."""
        code = self.process.wait()
        if code < 0:
            return f"{self.name} was ended by {signal.Signals(-code).name}"
        return f"{self.name} ended by itself with exit code {code}"


def listen(settings: UpSettings) -> socket.socket:
    """Listen on `API_PORT`; if it is not set and 8000 is taken, on a free port.

    Raises SettingsError if that port is taken.
    """
    ports = [settings.api_port]
    if "api_port" not in settings.model_fields_set:
        ports.append(0)
    family = socket.AF_INET6 if ":" in settings.api_host else socket.AF_INET
    refused = ""
    for port in ports:
        try:
            listener = socket.create_server((settings.api_host, port), family=family)
        except OSError as error:
            refused = f"The API cannot listen on {settings.api_host}:{port}: {error.strerror}."
        else:
            # uvicorn takes a socket that it is given for one of Unix, and does not set it.
            listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            return listener
    raise SettingsError(f"{refused} Choose another API_PORT or API_HOST.")


def with_port(settings: UpSettings, listener: socket.socket) -> UpSettings:
    """Return the settings with the listener's port, which the public URL follows unless set."""
    port = int(listener.getsockname()[1])
    changed: dict[str, object] = {"api_port": port}
    if "public_base_url" not in settings.model_fields_set:
        changed["public_base_url"] = f"http://localhost:{port}"
    return settings.model_copy(update=changed)


@contextmanager
def children(
    settings: UpSettings, listener: socket.socket, output: Output, guard: Guard
) -> Generator[Sequence[Child]]:
    """Run the API, the worker and beat until the block ends.

    `output` names the destination of a process's lines: a file or `subprocess.PIPE`. `guard` ends
    the processes if we are killed.
    """
    celery = ["celery", "--no-color", "--quiet", "-A", "worker.app"]
    commands = {
        "api": ["uvicorn", "worker.api:app", *UVICORN, "--fd", str(listener.fileno())],
        "worker": [*celery, "worker", f"--concurrency={WORKER_PROCESSES}"],
        "beat": [*celery, "beat"],
    }
    started: list[Child] = []
    shared = make_directory()
    guard.remove(shared)
    try:
        for name, command in commands.items():
            process = subprocess.Popen(  # noqa: S603 - our own commands
                [sys.executable, "-m", *command],
                stdin=subprocess.DEVNULL,
                stdout=output(name),
                stderr=subprocess.STDOUT,
                env=environment(settings) | {METRICS_DIRECTORY: str(shared)},
                pass_fds=[listener.fileno()] if name == "api" else [],
                start_new_session=True,  # Ctrl-C in the terminal does not reach them
            )
            started.append(Child(name, process))
            guard.end_child(process.pid)
        listener.close()
        yield started
    finally:
        _end(started)
        shutil.rmtree(shared, ignore_errors=True)


@contextmanager
def interruptible() -> Generator[None]:
    """Raise KeyboardInterrupt at the first signal; later signals do not disturb the clean-up."""

    def interrupt(*_: object) -> None:
        on_end_signal(signal.SIG_IGN)
        raise KeyboardInterrupt

    before = {number: signal.getsignal(number) for number in END_SIGNALS}
    on_end_signal(interrupt)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def on_end_signal(handler: Any) -> None:
    """Install a handler for every signal that asks us to end."""
    for number in END_SIGNALS:
        signal.signal(number, handler)


def environment(settings: UpSettings) -> dict[str, str]:
    """Our environment variables, with every setting."""
    given = {name: value for name, value in settings if name != "metrics_listen"}
    warnings = filter(None, [os.environ.get("PYTHONWARNINGS"), _AS_ROOT])
    return {
        **{name: value for name, value in os.environ.items() if name not in METRICS_LISTEN},
        **{
            f"{PREFIX}{name.upper()}": _to_text(value)
            for name, value in given.items()
            if value is not None
        },
        "PYTHONUNBUFFERED": "1",
        "PYTHONWARNINGS": ",".join(warnings),
    }


def _to_text(value: object) -> str:
    """Return a setting as its variable has it; a secret too, for our own processes."""
    if isinstance(value, SecretStr):
        return value.get_secret_value()
    return to_json(value).decode() if isinstance(value, tuple) else str(value)


def _end(started: Sequence[Child]) -> None:
    """Send SIGTERM, wait for the current batch, then send SIGKILL to the rest of each group."""
    for child in started:
        child.process.terminate()
    deadline = time.monotonic() + STOP_SECONDS
    for child in started:
        with suppress(subprocess.TimeoutExpired):
            child.process.wait(max(deadline - time.monotonic(), 0))
        with suppress(ProcessLookupError):
            os.killpg(child.process.pid, signal.SIGKILL)
        child.process.wait()
