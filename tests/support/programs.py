"""`publish-worker` as a process of its own, with everything that it starts in sight."""

import os
import re
import shutil
import signal
import tempfile
from collections.abc import Generator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TypeVar

import httpx
import psutil

from tests.support.forked import Forked
from tests.support.waiting import PATIENCE, START_SECONDS, wait_until
from worker.cli import main

P = TypeVar("P", bound="Program")

OURS = ("DATABASE_URL", "REDIS_URL", "BROKER_URL", "API_PORT", "PUBLIC_BASE_URL", "DATA_DIR")


class Program:
    """One `publish-worker …` and its family."""

    def __init__(self, log: Path, *arguments: str, **environment: str) -> None:
        self.log = log
        inherited = {name: value for name, value in os.environ.items() if name not in OURS}
        log.write_bytes(b"")  # it may be the second one in this folder
        self.name = " ".join(("publish-worker", *arguments))
        self.process = Forked(
            main, ["publish-worker", *arguments], log=log, environment=inherited | environment
        )
        self.family: set[psutil.Process] = set()
        self.clients: list[httpx.Client] = []

    @property
    def said(self) -> str:
        """Everything that it has printed."""
        return self.log.read_text(errors="replace")

    @property
    def is_running(self) -> bool:
        """Whether it lives; notes its family as it looks."""
        if self.process.poll() is not None:
            return False
        with suppress(psutil.NoSuchProcess):
            self.family.update(psutil.Process(self.process.pid).children(recursive=True))
        return True

    def wait_for(self, pattern: str, timeout: float = START_SECONDS) -> str:
        """Wait until it has printed something; return the first group, or all of it."""
        found = wait_until(
            lambda: re.search(pattern, self.said) or not self.is_running,
            f"{pattern!r} from {self.name}",
            timeout,
        )
        assert isinstance(found, re.Match), self.said[-5000:]
        return found.group(found.lastindex or 0)

    def member(self, word: str) -> psutil.Process:
        """The eldest of the family with this word on its command line."""
        assert self.is_running
        return min(
            (one for one in self.family if word in command_line(one)),
            key=psutil.Process.create_time,
        )

    def end(self, number: signal.Signals = signal.SIGINT) -> int:
        """Send a signal, and return the exit code."""
        if self.is_running:
            self.process.send_signal(number)
        return self.ended()

    def ended(self) -> int:
        """Wait until it ends, and return the exit code."""
        wait_until(lambda: not self.is_running, f"the end of {self.name}", START_SECONDS)
        return self.process.wait()

    def left(self) -> list[psutil.Process]:
        """What it started and did not end."""
        return [one for one in self.family if command_line(one)]


def command_line(process: psutil.Process) -> list[str]:
    """Its words; none if it has ended, or merely waits to be buried."""
    try:
        return process.cmdline() if process.is_running() else []
    except (psutil.NoSuchProcess, psutil.ZombieProcess):
        return []


class Up(Program):
    """`publish-worker up`."""

    def wait_until_ready(self) -> httpx.Client:
        """A client with the development key, once everything runs."""
        self.wait_for("Everything runs")
        key = self.wait_for(r"Key +(pw_\S+)")
        url = self.wait_for(r"API +(http://\S+)/api/v1")
        client = httpx.Client(
            base_url=url, headers={"Authorization": f"Bearer {key}"}, timeout=2 * PATIENCE
        )
        self.clients.append(client)
        return client


@contextmanager
def program_folder() -> Generator[Path]:
    """A folder that the engines can enter, root's too; nothing of a program outlives it."""
    path = Path(tempfile.mkdtemp(prefix="pw-test-up-", dir="/var/tmp"))
    path.chmod(0o755)
    try:
        yield path
    finally:
        shutil.rmtree(path, ignore_errors=True)


@contextmanager
def running(program: P) -> Generator[P]:
    """End it and its family, whatever the test did."""
    try:
        yield program
    finally:
        program.is_running  # noqa: B018 - notes the family
        for client in program.clients:
            client.close()
        program.process.kill()
        program.process.wait()
        for one in program.left():
            with suppress(psutil.NoSuchProcess):
                one.kill()
