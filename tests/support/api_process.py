"""`uvicorn worker.api:app` as a process on one port, to be ended and started again."""

import os
import signal
from pathlib import Path

import httpx

from tests.support.forked import Forked, run_uvicorn
from tests.support.free_port import free_port
from tests.support.waiting import PATIENCE, wait_until


class ApiProcess:
    """The process that runs now; `environment` are further settings."""

    def __init__(self, log: Path, database_url: str, redis_url: str, **environment: str) -> None:
        self.log = log
        self.port = free_port()
        urls = {"DATABASE_URL": database_url, "REDIS_URL": redis_url}
        self.environment = {**os.environ, **urls, **environment}
        self.start()

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        """Start it, and wait until it answers."""
        arguments = ["uvicorn", "worker.api:app", f"--port={self.port}"]
        self.process = Forked(run_uvicorn, arguments, log=self.log, environment=self.environment)
        wait_until(self.answers, "the API to answer")

    def answers(self) -> bool:
        """Whether it answers."""
        try:
            return httpx.get(f"{self.url}/healthz", timeout=PATIENCE).is_success
        except httpx.TransportError:
            return False

    def end(self, number: signal.Signals) -> None:
        """End it by a signal, and wait for its end."""
        self.process.send_signal(number)
        self.process.wait(PATIENCE)
