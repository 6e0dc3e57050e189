"""A second host on this machine, at a distance: a network namespace at the end of a slow link.

The link is a pair of TUN devices; a process carries each packet from one to the other after a fixed
time. (`tc netem` does the same in the kernel, which not every kernel has.) It needs root, `ip` and
/dev/net/tun. The carrier costs CPU, so a measurement without delay uses the same link.

    python -m bench.slow_link NAME-A NAME-B MILLISECONDS        the carrier; one way
"""

import fcntl
import os
import select
import struct
import subprocess
import sys
import time
from collections import deque
from collections.abc import Generator
from contextlib import contextmanager, suppress
from dataclasses import dataclass

from bench.processes import ROOT

NEAR, FAR = "10.219.78.1", "10.219.78.2"
MTU = 9_000
_TUNSETIFF = 0x400454CA
_IFF_TUN, _IFF_NO_PI = 0x0001, 0x1000


@dataclass(frozen=True)
class Link:
    """The second host, and the address at which this one is seen from there."""

    namespace: str
    near: str
    far: str
    carrier: int
    """The id of the process that carries the packets."""

    def command(self, *arguments: str) -> list[str]:
        """Return a command that runs Python on the second host."""
        return ["ip", "netns", "exec", self.namespace, sys.executable, *arguments]


@contextmanager
def near_address() -> Generator[None]:
    """Give this host the address at which the second one sees it, while the context lasts."""
    _ip("addr", "add", f"{NEAR}/32", "dev", "lo")
    try:
        yield
    finally:
        _ip("addr", "del", f"{NEAR}/32", "dev", "lo")


@contextmanager
def slow_link(milliseconds: float) -> Generator[Link]:
    """Make a second host whose packets take this long, each way, while the context lasts.

    `near_address` must be in effect. Raises CalledProcessError or OSError where namespaces or TUN
    devices cannot be made.
    """
    name = f"pw{os.getpid()}"
    here, there = f"{name}a", f"{name}b"
    _ip("netns", "add", name)
    carrier = subprocess.Popen(
        [sys.executable, "-m", "bench.slow_link", here, there, str(milliseconds)],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert carrier.stdout
        if carrier.stdout.readline() != "made\n":
            raise OSError("the TUN devices could not be made")
        _ip("link", "set", there, "netns", name)
        _ip("link", "set", here, "mtu", str(MTU), "up")
        _ip("route", "add", FAR, "dev", here, "src", NEAR)
        _ip("-n", name, "addr", "add", f"{FAR}/30", "dev", there)
        _ip("-n", name, "link", "set", there, "mtu", str(MTU), "up")
        _ip("-n", name, "link", "set", "lo", "up")
        yield Link(namespace=name, near=NEAR, far=FAR, carrier=carrier.pid)
    finally:
        carrier.kill()  # its devices and their routes go with it
        carrier.wait()
        subprocess.run(["ip", "netns", "del", name], check=False, capture_output=True)


def _ip(*arguments: str) -> None:
    subprocess.run(["ip", *arguments], check=True, capture_output=True)


def _carry(ends: tuple[int, int], seconds: float) -> None:
    """Carry packets between two devices for ever, each `seconds` after it was read."""
    other = {ends[0]: ends[1], ends[1]: ends[0]}
    travelling: deque[tuple[float, int, bytes]] = deque()
    while True:
        left = max(0.0, travelling[0][0] - time.monotonic()) if travelling else None
        readable, _, _ = select.select(ends, (), (), left)
        for end in readable:
            _take(end, other[end], seconds, travelling)
        now = time.monotonic()
        while travelling and travelling[0][0] <= now:
            _, end, packet = travelling.popleft()
            with suppress(OSError):  # the other end is not up yet: a lost packet, as on any link
                os.write(end, packet)


def _take(end: int, to: int, seconds: float, travelling: deque[tuple[float, int, bytes]]) -> None:
    try:
        while True:
            packet = os.read(end, 65_536)
            travelling.append((time.monotonic() + seconds, to, packet))
    except BlockingIOError:
        return


def _open(name: str) -> int:
    end = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
    fcntl.ioctl(end, _TUNSETIFF, struct.pack("16sH22x", name.encode(), _IFF_TUN | _IFF_NO_PI))
    return end


def main() -> None:
    """Make the two devices, say so, and carry."""
    _, here, there, milliseconds = sys.argv
    ends = _open(here), _open(there)
    print("made", flush=True)
    _carry(ends, float(milliseconds) / 1_000)


if __name__ == "__main__":
    main()
