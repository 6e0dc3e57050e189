"""Programs as processes that are forked from one which has imported the modules already.

A new interpreter spends two seconds of CPU on imports, and the tests start hundreds of programs. A
forked one is as real: a process of its own, with its own signals, environment and output. It does
not run `atexit` handlers, and does not notice an import that only another program makes: the tests
of the README and of the compose file start new interpreters.
"""

import faulthandler
import multiprocessing
import os
import re
import signal
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path

import psutil
import uvicorn

from tests.support.waiting import wait_until

STACKS = signal.SIGUSR2
"""Makes a program, and each process that it forks, print the stacks of all its threads."""
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
        self._log = log
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
        """Wait for the exit code. Raises AssertionError, with the stacks of what still runs."""
        self._process.join(timeout)
        code = self._process.exitcode
        assert code is not None, f"It runs after {timeout:g} s.\n{self.read_stacks()}"
        return code

    def send_signal(self, number: signal.Signals) -> None:
        """Send a signal, unless it has ended."""
        if self.poll() is None:
            os.kill(self.pid, number)

    def kill(self) -> None:
        """Send SIGKILL."""
        self.send_signal(signal.SIGKILL)

    def read_stacks(self) -> str:
        """The end of the log, and the stacks of the program and of each process that it forked."""
        before = self._log.read_text()[-2000:]
        program = psutil.Process(self.pid)
        family = [program, *program.children(recursive=True)]
        return "\n".join([before, *map(self._read_stacks, family)])

    def wait_until_in(self, function: str, process: psutil.Process | None = None) -> None:
        """Wait until the program, or a process that it forked, runs a function."""
        found = process or psutil.Process(self.pid)
        line = f" in {function}\n"
        wait_until(lambda: line in self._read_stacks(found), f"{found.pid} to run {function}")

    def _read_stacks(self, process: psutil.Process) -> str:
        began, sizes = self._log.stat().st_size, [0]

        def is_printed() -> bool:
            sizes.append(self._log.stat().st_size)
            return began < sizes[-1] == sizes[-2]

        text = f"Process {process.pid} ({process.status()}):\n"
        if _is_caught(process.pid, STACKS):
            process.send_signal(STACKS)
            with suppress(AssertionError):  # a stopped process prints nothing
                wait_until(is_printed, "the stacks", timeout=5, every=0.2)
        return text + self._log.read_bytes()[began:].decode()


def _is_caught(pid: int, number: signal.Signals) -> bool:
    """Whether a process has a handler for a signal."""
    found = re.search(r"^SigCgt:\s+(\w+)$", Path(f"/proc/{pid}/status").read_text(), re.MULTILINE)
    return found is not None and bool(int(found[1], 16) >> (number - 1) & 1)


def _run(
    main: Callable[[], object], arguments: list[str], log: Path, environment: dict[str, str]
) -> None:
    os.setsid()
    with log.open("ab") as output:
        for descriptor in (1, 2):
            os.dup2(output.fileno(), descriptor)
    faulthandler.register(STACKS, file=2, all_threads=True)
    os.environ.clear()
    os.environ.update(environment)
    time.tzset()
    tempfile.tempdir = None  # read TMPDIR again
    sys.argv = arguments
    warnings.simplefilter("ignore")
    main()


def run_uvicorn() -> None:
    """Run `uvicorn` with `sys.argv`."""
    uvicorn.main()
