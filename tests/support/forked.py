"""Programs as processes that are forked from one which has imported the modules already.

A new interpreter spends two seconds of CPU on imports, and the tests start hundreds of programs. A
forked one is as real: a process of its own, with its own signals, environment and output. It does
not run `atexit` handlers, and does not notice an import that only another program makes: the tests
of the README and of the compose file start new interpreters.
"""

import multiprocessing
import os
import signal
import subprocess
import sys
import time
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path

import uvicorn

_CONTEXT = multiprocessing.get_context("forkserver")
_CONTEXT.set_forkserver_preload(
    [
        "celery.__main__",
        "celery.apps.beat",
        "celery.apps.worker",
        "celery.bin.celery",
        "celery.concurrency.prefork",
        "tests.support.consumer",
        "tests.support.relaying",
        "tests.support.forked",
        "worker.api.application",
        "worker.app",
        "worker.app.beat",
        "worker.app.consumer",
        "worker.app.tasks",
        "worker.app.transport",
        "worker.cli.events",
        "worker.cli.local",
        "worker.cli.migrate",
        "worker.cli.webhooks",
        "worker.local.up",
    ]
)


class Forked:
    """A process that runs `main` with these arguments in `sys.argv`; the interface is Popen's."""

    def __init__(
        self,
        main: Callable[[], object],
        arguments: list[str],
        *,
        log: Path,
        environment: Mapping[str, str] = os.environ,
    ) -> None:
        target = (main, arguments, log, dict(environment))
        self._process = _CONTEXT.Process(target=_run, args=target)
        self._process.start()

    @property
    def pid(self) -> int:
        """The process id; it leads a session of its own."""
        assert self._process.pid
        return self._process.pid

    def poll(self) -> int | None:
        """The exit code, negative for a signal; None: it runs."""
        return self._process.exitcode

    def wait(self, timeout: float | None = None) -> int:
        """Wait for the exit code. Raises TimeoutExpired."""
        self._process.join(timeout)
        if self._process.exitcode is None:
            raise subprocess.TimeoutExpired("a forked program", timeout or 0)
        return self._process.exitcode

    def send_signal(self, number: signal.Signals) -> None:
        """Send a signal, unless it has ended."""
        if self.poll() is None:
            os.kill(self.pid, number)

    def kill(self) -> None:
        """Send SIGKILL."""
        self.send_signal(signal.SIGKILL)


def _run(
    main: Callable[[], object], arguments: list[str], log: Path, environment: dict[str, str]
) -> None:
    os.setsid()
    with log.open("ab") as output:
        for descriptor in (1, 2):
            os.dup2(output.fileno(), descriptor)
    os.environ.clear()
    os.environ.update(environment)
    time.tzset()
    sys.argv = arguments
    warnings.simplefilter("ignore")
    main()


def run_uvicorn() -> None:
    """Run `uvicorn` with `sys.argv`."""
    uvicorn.main()
