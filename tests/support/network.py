"""A network of hosts on this machine: a bridge, and a namespace with an address for each."""

import os
import subprocess
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass

import pytest


@dataclass(frozen=True)
class Network:
    """Hosts that reach each other, and this machine, by their addresses."""

    name: str
    addresses: dict[str, str]
    gateway: str
    """This machine's address."""

    def enter(self, host: str) -> list[str]:
        """How a command line begins that is to run on a host."""
        return ["ip", "netns", "exec", f"{self.name}-{host}"]


@contextmanager
def network(hosts: list[str]) -> Generator[Network]:
    """Lay the wires; they are removed at the end."""
    name, subnet = f"pw{os.getpid()}", f"10.220.{os.getpid() % 250}"
    addresses = {host: f"{subnet}.{number}" for number, host in enumerate(hosts, start=10)}
    made = Network(name, addresses, f"{subnet}.1")
    try:
        _lay(made)
        yield made
    finally:
        for host in hosts:
            subprocess.run(["ip", "netns", "del", f"{name}-{host}"], check=False)
        subprocess.run(["ip", "link", "del", name], check=False)


def _lay(network: Network) -> None:
    try:
        _ip("link", "add", network.name, "type", "bridge")
    except subprocess.CalledProcessError:
        pytest.skip("does not apply: no bridge can be made here")
    _ip("addr", "add", f"{network.gateway}/24", "dev", network.name)
    _ip("link", "set", network.name, "up")
    for number, (host, address) in enumerate(network.addresses.items()):
        space, here = f"{network.name}-{host}", f"{network.name}.{number}"
        _ip("netns", "add", space)
        _ip("link", "add", here, "type", "veth", "peer", "name", "eth0", "netns", space)
        _ip("link", "set", here, "master", network.name, "up")
        _ip("-n", space, "addr", "add", f"{address}/24", "dev", "eth0")
        for device in ("lo", "eth0"):
            _ip("-n", space, "link", "set", device, "up")


def _ip(*arguments: str) -> None:
    subprocess.run(["ip", *arguments], check=True, capture_output=True)
