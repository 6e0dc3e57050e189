"""The address where a worker or beat serves its metrics, if METRICS_LISTEN names one.

The API needs none: it has the route `/metrics`.
"""

import os
from dataclasses import dataclass
from socketserver import BaseServer

from prometheus_client import start_http_server

from worker.runtime.metrics import make_registry
from worker.runtime.settings import SettingsError


@dataclass
class MetricsServer:
    """What a process serves; forked processes inherit it, and must drop it."""

    server: BaseServer | None = None
    owner: int = 0
    """The id of the process that serves."""

    def start(self, address: str) -> None:
        """Serve at `address`, host:port, from a thread. Raises SettingsError if it cannot."""
        if self.server is not None:
            return
        host, _, port = address.rpartition(":")
        self.owner = os.getpid()
        try:
            self.server, _ = start_http_server(int(port), host.strip("[]"), make_registry())
        except OSError as error:
            raise SettingsError(
                f"METRICS_LISTEN={address} cannot be used: {error.strerror}. Choose a free address "
                "of this host, or leave it out."
            ) from None

    def drop_inherited(self) -> None:
        """Close the socket of the parent in a forked process: only the parent answers.

        Celery also calls this in a worker without processes of its own (`-P solo`), which goes on.
        """
        if self.server is not None and self.owner != os.getpid():
            self.server.socket.close()  # pyright: ignore[reportAttributeAccessIssue]
            self.server = None
