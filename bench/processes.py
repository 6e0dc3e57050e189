"""The processes of a run: started, waited for, measured and ended by their ids."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[1]


@dataclass(frozen=True)
class Logs:
    """The folder for the output of the processes."""

    folder: Path

    def tail(self, name: str, lines: int = 20) -> str:
        """Read the last lines of a process's output."""
        text = (self.folder / f"{name}.log").read_text(errors="replace")
        return "\n".join(text.splitlines()[-lines:])


@contextmanager
def python(
    arguments: Sequence[str], name: str, environment: dict[str, str], logs: Logs
) -> Generator[int]:
    """Run `python -m …` in a session of its own while the context lasts; gives its process id."""
    with (logs.folder / f"{name}.log").open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", *arguments],
            cwd=ROOT,
            env=os.environ | environment,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        yield process.pid
        if process.poll() is not None:
            raise RuntimeError(f"{name} ended by itself:\n{logs.tail(name)}")
    except TimeoutError as error:
        error.add_note(f"{name} wrote last:\n{logs.tail(name)}")
        raise
    finally:
        with suppress(ProcessLookupError):  # at once: an orderly end would take seconds
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def wait_for(condition: Callable[[], bool], what: str, seconds: float = 60) -> None:
    """Ask again every few milliseconds; raise TimeoutError when it never comes true."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError(f"waited {seconds:.0f} s for {what}")
        time.sleep(0.005)


def children(pid: int) -> list[int]:
    """The ids of a process's children, oldest first."""
    tasks = Path(f"/proc/{pid}/task").iterdir()
    return sorted(int(child) for task in tasks for child in (task / "children").read_text().split())


def resident(pid: int) -> dict[str, float]:
    """A process's RSS, and PSS (its share of pages that several hold), in MiB."""
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()[1:]
    kib = {name: int(value.split()[0]) for name, value in (line.split(":") for line in lines)}
    return {"rss": kib["Rss"] / 1024, "pss": kib["Pss"] / 1024}


def free_port() -> int:
    """A free port."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return int(probe.getsockname()[1])
