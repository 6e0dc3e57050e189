"""A host that is lost: its packets are dropped, and no end of its connections is sent."""

import os
import subprocess
import sys
import tempfile
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psycopg
import pytest

from tests.support.waiting import PATIENCE, wait_until
from worker.local.engines import engines, postgres

ROOT = Path(__file__).parents[2]
NET = f"10.{200 + os.getpid() % 50}.{os.getpid() // 50 % 256}"
"""Of this process: others run such tests on this host, too."""
SERVER, CLIENT = f"{NET}.1", f"{NET}.2"
LISTENING = tuple(each for each in postgres._SETTINGS if "listen_addresses" not in each)  # noqa: SLF001  # pyright: ignore[reportPrivateUsage]
CLIENT_PROGRAM = """
import sys
from db.session import connect, transaction
with transaction(connect(sys.argv[1])) as tx:
    tx.execute("UPDATE counted SET a = a")
    tx.execute("SET LOCAL idle_in_transaction_session_timeout = 0")
    tx.execute("SET LOCAL statement_timeout = 0")
    tx.execute("SET LOCAL transaction_timeout = 0")
    print("holds", flush=True)
    sys.stdin.readline()
    print("asks", flush=True)
    tx.execute("SELECT pg_sleep(1000)")
"""


@dataclass
class Network:
    """A second host, connected by a cable."""

    namespace: str
    address: str = CLIENT

    def run(self, *arguments: str) -> subprocess.Popen[str]:
        """Start Python on the second host."""
        command = ["ip", "netns", "exec", self.namespace, sys.executable, *arguments]
        pipe = subprocess.PIPE
        environment = os.environ | {"PYTHONPATH": str(ROOT)}
        return subprocess.Popen(
            command, stdin=pipe, stdout=pipe, stderr=pipe, text=True, env=environment
        )

    def drop_packets(self) -> None:
        """Pull the cable out."""
        _ip("link", "set", f"{self.namespace}-0", "down")


def _ip(*arguments: str) -> None:
    subprocess.run(["ip", *arguments], check=True, capture_output=True)


@pytest.fixture
def network() -> Generator[Network]:
    """A second host."""
    name = f"pw{os.getpid()}"
    here, there = f"{name}-0", f"{name}-1"
    try:
        _ip("netns", "add", name)
        _ip("link", "add", here, "type", "veth", "peer", "name", there, "netns", name)
        _ip("addr", "add", f"{SERVER}/30", "dev", here)
        _ip("link", "set", here, "up")
        _ip("-n", name, "addr", "add", f"{CLIENT}/30", "dev", there)
        _ip("-n", name, "link", "set", there, "up")
    except (OSError, subprocess.CalledProcessError):
        _remove(name)
        pytest.skip("does not apply: no network namespace can be made here")
    yield Network(name)
    _remove(name)


def _remove(name: str) -> None:
    subprocess.run(["ip", "netns", "del", name], check=False, capture_output=True)
    subprocess.run(["ip", "link", "del", f"{name}-0"], check=False, capture_output=True)


@pytest.fixture
def server(network: Network, monkeypatch: pytest.MonkeyPatch) -> Generator[str]:
    """A PostgreSQL that the second host can reach; the URL of its socket."""
    monkeypatch.setattr(postgres, "_SETTINGS", (*LISTENING, f"listen_addresses={SERVER}"))
    with tempfile.TemporaryDirectory(dir="/var/tmp", prefix="pw-test-") as home:
        Path(home).chmod(0o755)
        with engines(Path(home), durable=False) as started:
            rules = next(Path(home).rglob("pg_hba.conf"))
            rules.write_text(f"{rules.read_text()}\nhost all all {network.address}/32 trust\n")
            with psycopg.connect(started.database_url, autocommit=True) as session:
                session.execute("SELECT pg_reload_conf()")
                session.execute("CREATE TABLE counted (a int)")
                session.execute("INSERT INTO counted VALUES (1)")
            yield started.database_url


@contextmanager
def _client(network: Network) -> Generator[subprocess.Popen[str]]:
    """A transaction of the second host that has locked a row."""
    url = f"postgresql://postgres@{SERVER}:5432/publish_worker"
    with network.run("-c", CLIENT_PROGRAM, url) as client:
        try:
            assert client.stdout
            assert client.stdout.readline() == "holds\n"
            yield client
        finally:
            client.kill()


@pytest.mark.slow
def test_the_locks_of_a_lost_client_are_released(network: Network, server: str) -> None:
    with _client(network), psycopg.connect(server, autocommit=True) as other:
        network.drop_packets()
        other.execute("SELECT set_config('lock_timeout', %s, false)", [f"{PATIENCE:.0f}s"])
        other.execute("UPDATE counted SET a = a")


@pytest.mark.slow
def test_the_wait_for_a_lost_server_ends(network: Network, server: str) -> None:
    with _client(network) as client, psycopg.connect(server, autocommit=True) as other:
        assert client.stdin
        assert client.stdout
        client.stdin.write("\n")
        client.stdin.flush()
        assert client.stdout.readline() == "asks\n"
        asleep = "SELECT FROM pg_stat_activity WHERE wait_event = 'PgSleep'"
        wait_until(lambda: other.execute(asleep).rowcount, "the query to run")
        network.drop_packets()
        client.wait(PATIENCE)
        assert client.stderr
        assert "OperationalError" in client.stderr.read()
