"""One shell process that ends what we started if we are killed before we can.

It reads one instruction a line from its stdin: `engine <pid>`, `child <pid>` or `remove <folder>`.
When its stdin closes without `stop`, it ends the children, then the engines, and removes the
folders.
"""

import os
import subprocess
from collections.abc import Generator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

_SCRIPT = """
while read -r kind value; do
    case $kind in
        stop) exit ;;
        engine) engines="$engines $value" ;;
        child) children="$children $value" ;;
        remove) set -- "$@" "$value" ;;
    esac
done
if [ "$children" ]; then
    kill -TERM $children
    sleep 3
    for pid in $children; do kill -KILL -- "-$pid"; done
fi
if [ "$engines" ]; then kill -INT $engines; fi
rm -rf -- "$@"
"""


@dataclass(frozen=True)
class Guard:
    """The guard process."""

    process: subprocess.Popen[bytes]

    def end_engine(self, pid: int) -> None:
        """End this engine with SIGINT, its orderly shutdown, if we are killed."""
        self._write(f"engine {pid}")

    def end_child(self, pid: int) -> None:
        """End this process with SIGTERM and, after three seconds, its group with SIGKILL."""
        self._write(f"child {pid}")

    def remove(self, folder: Path) -> None:
        """Remove this folder, too, at the end."""
        self._write(f"remove {folder}")

    def stop(self) -> None:
        """End the guard itself: there is nothing left to end."""
        self._write("stop")

    def _write(self, line: str) -> None:
        if self.process.stdin is not None:
            with suppress(BrokenPipeError):
                self.process.stdin.write(f"{line}\n".encode())


@contextmanager
def start_guard() -> Generator[Guard]:
    """Start the guard, in a session of its own; it ends with the block.

    The guard may be killed too: the next start in the same data directory ends what it missed.
    """
    with subprocess.Popen(  # noqa: S603 - our own script
        ["/bin/sh", "-c", _SCRIPT],
        bufsize=0,
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        cwd="/",
        env={"PATH": os.defpath},
        start_new_session=True,
    ) as process:
        guard = Guard(process)
        try:
            yield guard
        finally:
            guard.stop()
