"""What it takes to start an engine, and to end it with everything else that was started."""

import subprocess
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from worker.local.engines.directories import Account, private
from worker.local.engines.processes import Engine, end, popen, tell


@dataclass(frozen=True)
class Starter:
    """What it takes to start an engine; leaving `stack` ends it."""

    directory: Path
    account: Account
    durable: bool
    watchdog: subprocess.Popen[bytes]
    stack: ExitStack

    def spawn(self, name: str, command: list[str | Path], config: str = "") -> Engine:
        """Start an engine, its log beside its data and its settings, if any, on its stdin."""
        log = self.directory / f"{name}.log"
        with open(log, "wb", opener=private) as output:
            process = popen(command, output, self.account)
        engine = Engine(name=name, process=process, log=log)
        self.stack.callback(end, process.pid, engine.ended)
        tell(self.watchdog, f"{process.pid}\n")
        tell(process, config, last=True)
        return engine
