"""A real RabbitMQ of the tests' own: one node, on free ports, removed at the end."""

import json
import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Generator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import psutil
from kombu import Connection, Message, Queue, binding

from tests.support.free_port import free_port
from tests.support.waiting import PATIENCE, wait_until
from worker.events.amqp import EXCHANGE

_DEBIAN = Path("/usr/lib/rabbitmq/bin/rabbitmq-server")
SERVER = str(_DEBIAN) if _DEBIAN.exists() else shutil.which("rabbitmq-server")
"""Debian's `rabbitmq-server` on the path changes the user, and the place of its files."""
CONTROL = str(Path(SERVER).with_name("rabbitmqctl")) if SERVER else ""
EPMD = shutil.which("epmd")
QUIET = "+S 1:1 +sbwt none +sbwtdcpu none +sbwtdio none"
"""One scheduler thread that sleeps while it waits: Erlang's spin, and take the tests' cores."""


class Rabbit:
    """One node, which can be stopped and started again with its data."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.port = free_port()
        self.url = f"amqp://guest:guest@127.0.0.1:{self.port}//"
        epmd_port = free_port()
        self.environment = {
            "PATH": os.environ["PATH"],
            "HOME": str(folder),  # where the cookie is
            "ERL_EPMD_PORT": str(epmd_port),
            "ERL_EPMD_ADDRESS": "127.0.0.1",
            "RABBITMQ_NODENAME": f"pw{os.getpid()}@localhost",
            "RABBITMQ_NODE_IP_ADDRESS": "127.0.0.1",
            "RABBITMQ_NODE_PORT": str(self.port),
            "RABBITMQ_DIST_PORT": str(free_port()),
            "RABBITMQ_MNESIA_BASE": str(folder / "mnesia"),
            "RABBITMQ_LOG_BASE": str(folder / "log"),
            "RABBITMQ_PLUGINS_EXPAND_DIR": str(folder / "plugins"),
            "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": QUIET,
            "RABBITMQ_PID_FILE": str(folder / "pid"),
            "RABBITMQ_CONFIG_FILE": str(folder / "rabbitmq"),
            "RABBITMQ_ENABLED_PLUGINS_FILE": str(folder / "enabled_plugins"),
        }
        (folder / "enabled_plugins").write_text("[].\n")
        # In the foreground, as our own child: started by the node, it would outlive it.
        self.epmd = self._run(EPMD, "-port", str(epmd_port))
        self.node: subprocess.Popen[bytes] | None = None
        self.family: list[psutil.Process] = []

    def start(self) -> None:
        self.node = self._run(SERVER)
        wait_until(self.answers, "RabbitMQ to answer", timeout=60, every=0.2)
        self.family = psutil.Process(self.node.pid).children(recursive=True)

    def answers(self) -> bool:
        assert self.node
        assert self.node.poll() is None, (self.folder / "out").read_text()[-3000:]
        try:
            with self.connection() as connection:
                connection.connect()
        except OSError:
            return False
        return True

    def stop(self, number: signal.Signals = signal.SIGTERM) -> None:
        """Stop the node, in order or not."""
        assert self.node
        os.killpg(self.node.pid, number)
        _, left = psutil.wait_procs(self.family, timeout=30)
        for process in left:
            with suppress(psutil.NoSuchProcess):
                process.kill()
        self.node.wait()

    def control(self, *command: str) -> None:
        """Run `rabbitmqctl`."""
        self._run(CONTROL, *command).wait(60)

    def define(self, **parts: list[dict[str, str]]) -> None:
        """Add parts of a definitions file: one run of `rabbitmqctl`, which takes a second."""
        path = self.folder / "definitions.json"
        path.write_text(json.dumps(parts))
        self.control("import_definitions", str(path))

    def connection(self) -> Connection:
        return Connection(self.url, connect_timeout=PATIENCE)

    def _run(self, *command: Any) -> subprocess.Popen[bytes]:
        with (self.folder / "out").open("ab") as output:
            return subprocess.Popen(
                command,
                env=self.environment,
                cwd=self.folder,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )


@contextmanager
def rabbit(folder: Path) -> Generator[Rabbit]:
    """A node that answers; neither it nor its port mapper outlives the block."""
    made = Rabbit(folder)
    try:
        made.start()
        yield made
    finally:
        if made.node and made.node.poll() is None:
            made.stop()
        made.epmd.kill()
        made.epmd.wait()


@contextmanager
def temporary_rabbit() -> Generator[Rabbit]:
    """A node in a folder of its own, which goes with it."""
    folder = Path(tempfile.mkdtemp(prefix="pw-test-rabbit-", dir="/var/tmp"))
    try:
        with rabbit(folder) as started:
            yield started
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def bind(connection: Connection, name: str, *keys: str) -> Queue:
    """A durable queue that gets what matches the routing keys."""
    bindings = [binding(EXCHANGE, routing_key=key) for key in keys]
    queue = Queue(name, bindings=bindings, durable=True)(connection.default_channel)
    queue.declare()
    return queue


def take_all(queue: Queue) -> list[Message]:
    """Everything in a queue."""
    taken: list[Message] = []
    while message := queue.get(no_ack=True):
        taken.append(message)
    return taken
