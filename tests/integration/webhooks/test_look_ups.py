"""Look-ups of names: bounded in time and in threads, so that no workspace delays another one."""

import json
import socket
import subprocess
import sys
import threading
from collections.abc import Generator
from pathlib import Path

import pytest

from worker.webhooks.look_ups import PER_WORKSPACE, LookUps, LookUpsBusy


class HangingResolver:
    """A resolver that answers for no name that begins with `never`."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.release = threading.Event()

    def __call__(self, host: str, _port: int) -> list[str]:
        self.asked.append(host)
        if host.startswith("never"):
            self.release.wait(60)
            raise OSError("Name or service not known")
        return ["127.0.0.1"]


@pytest.fixture
def resolver() -> Generator[HangingResolver]:
    hanging = HangingResolver()
    yield hanging
    hanging.release.set()


def test_an_ip_address_is_not_looked_up(resolver: HangingResolver) -> None:
    look_ups = LookUps(resolver)
    for address in ("127.0.0.1", "2606:4700::1"):
        assert look_ups.start(1, address, 443).result() == [address]
    assert resolver.asked == []


def test_the_names_of_one_workspace_take_a_few_threads_only(resolver: HangingResolver) -> None:
    look_ups = LookUps(resolver)
    for nth in range(PER_WORKSPACE):
        look_ups.start(1, f"never-{nth}.example", 443)
    with pytest.raises(LookUpsBusy) as busy:
        look_ups.start(1, "known.example", 443)
    assert busy.value.of_workspace
    assert look_ups.start(2, "known.example", 443).result() == ["127.0.0.1"]


def test_a_name_is_looked_up_once_for_all_that_wait_for_it(resolver: HangingResolver) -> None:
    look_ups = LookUps(resolver)
    waiting = {id(look_ups.start(1, "never.example", 443)) for _ in range(100)}
    assert len(waiting) == 1
    assert resolver.asked == ["never.example"]


def test_an_ended_look_up_frees_its_thread(resolver: HangingResolver) -> None:
    look_ups = LookUps(resolver)
    started = [look_ups.start(1, f"never-{nth}.example", 443) for nth in range(PER_WORKSPACE)]
    resolver.release.set()
    for each in started:
        assert isinstance(each.exception(), OSError)
    assert look_ups.start(1, "known.example", 443).result() == ["127.0.0.1"]


# With the system's resolver and a name server that never answers.

REGISTER = """
import json, threading, time
from worker.webhooks import look_ups

look_ups.REGISTRATION_SECONDS = 5
outcomes = []

def register(workspace_id, url):
    try:
        look_ups.check_url(url, workspace_id, allow_private=False)
        outcomes.append("passes")
    except look_ups.LookUpsBusy:
        outcomes.append("busy")

names = [(1, f"https://never-{nth}.example/") for nth in range(look_ups.PER_WORKSPACE + 2)]
names.append((2, "https://never.example/"))
threads = [threading.Thread(target=register, args=each) for each in names]
for each in threads:
    each.start()
while outcomes.count("busy") < 2:
    time.sleep(0.01)
register(3, "https://1.1.1.1/")
first = list(outcomes)
for each in threads:
    each.join()
print(json.dumps([first, outcomes]))
"""


@pytest.fixture
def silent_name_server(tmp_path: Path) -> Generator[Path]:
    """A name server that receives and never answers; yields a resolv.conf that names it."""
    configuration = tmp_path / "resolv.conf"
    configuration.write_text("nameserver 127.0.0.77\noptions timeout:30 attempts:1\n")
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
        try:
            server.bind(("127.0.0.77", 53))
        except OSError as error:
            pytest.skip(f"no name server can be started here: {error}")
        yield configuration


@pytest.mark.slow
def test_registrations_do_not_wait_for_a_name_server_that_hangs(silent_name_server: Path) -> None:
    bind = f"mount --bind {silent_name_server} /etc/resolv.conf"
    if subprocess.run(["unshare", "-m", "sh", "-c", bind], check=False).returncode:
        pytest.skip("no mount namespace can be made here")
    done = subprocess.run(
        ["unshare", "-m", "sh", "-c", f'{bind} && exec "$0" -c "$1"', sys.executable, REGISTER],
        check=True,
        capture_output=True,
        text=True,
        timeout=25,  # the resolver gives up after 30 seconds: the process ends without it
    )
    first, outcomes = json.loads(done.stdout)
    assert first == ["busy", "busy", "passes"], "the address at once, and the names above the limit"
    assert sorted(outcomes) == ["busy"] * 2 + ["passes"] * (PER_WORKSPACE + 2)
