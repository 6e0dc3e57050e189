"""An HTTP client that costs far less than a server: bytes built beforehand, httptools, uvloop.

    python -m bench.http_load        reads a job on stdin, writes its result on stdout, both JSON

It is a process of its own, so that its CPU time can be told from the server's. Closed loop: each
connection sends its next request as soon as the last one is answered. Open loop: each request has
its time, and is sent then whether or not earlier ones have been answered; latency counts from that
time, so a server that stalls cannot slow the measurement down (coordinated omission). Times are
those of CLOCK_MONOTONIC, which all processes share.
"""

import asyncio
import json
import os
import subprocess
import sys
import time
from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import httptools
import uvloop

from bench.processes import ROOT

ANSWER_SECONDS = 120.0
"""The longest that a whole job waits for its last answer."""
LEAD_SECONDS = 0.2
"""From the moment that all connections are open until the first scheduled request."""


@dataclass(frozen=True, kw_only=True)
class Job:
    """What to send, and how."""

    port: int
    key: str
    connections: int
    """Closed loop: requests in flight at a time. Open loop: the most connections."""
    requests: list[tuple[str, str]]
    """Paths and bodies of POST requests."""
    offsets: list[float] | None = None
    """Open loop: when each request is sent, in seconds from the start. None: closed loop."""


@dataclass(frozen=True, kw_only=True)
class Answered:
    """The requests in the order of the job, with their times in seconds."""

    scheduled: list[float]
    """Open loop: the time of the schedule. Closed loop: the time of sending."""
    sent: list[float]
    answered: list[float]
    statuses: list[int]
    command_ids: list[list[str]]
    """The commands that each answer names: one, or those of a bulk request."""
    cpu_seconds: float
    """User and system time of this client between the first request and the last answer."""

    @property
    def seconds(self) -> float:
        """From the first request to the last answer."""
        return max(self.answered) - min(self.scheduled)

    @property
    def milliseconds(self) -> list[float]:
        """How long each request took, from its scheduled time."""
        return [
            1_000 * (end - start) for start, end in zip(self.scheduled, self.answered, strict=True)
        ]


def send(job: Job) -> Answered:
    """Run a job in a client process. Raises RuntimeError if it fails."""
    done = subprocess.run(
        [sys.executable, "-m", "bench.http_load"],
        cwd=ROOT,
        input=json.dumps(asdict(job)),
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise RuntimeError(f"the HTTP client failed:\n{done.stderr[-2000:]}")
    return Answered(**json.loads(done.stdout))


class _Connection(asyncio.Protocol):
    """One keep-alive connection; one request at a time."""

    def __init__(self, load: "_Load") -> None:
        self.load = load
        self.number = -1
        self.status = 0
        self.body = bytearray()

    def connection_made(self, transport: Any) -> None:
        self.transport = transport
        self.parser = httptools.HttpResponseParser(self)

    def ask(self, number: int) -> None:
        self.number = number
        self.load.sent[number] = time.monotonic()
        self.transport.write(self.load.wire[number])

    def data_received(self, data: bytes) -> None:
        self.parser.feed_data(data)

    def on_body(self, body: bytes) -> None:
        self.body += body

    def on_message_complete(self) -> None:
        number, self.number = self.number, -1
        self.load.answered[number] = time.monotonic()
        self.load.statuses[number] = self.parser.get_status_code()
        self.load.bodies[number], self.body = bytes(self.body), bytearray()
        self.load.go_on(self)

    def connection_lost(self, exc: Exception | None) -> None:
        if self.number < 0 and self in self.load.idle:
            self.load.idle.remove(self)  # servers close connections that have been idle for long
        elif not self.load.finished.done():
            self.load.finished.set_exception(ConnectionError(f"the server hung up: {exc}"))


@dataclass
class _Load:
    """The state of a running job."""

    wire: list[bytes]
    scheduled: list[float] | None
    sent: list[float]
    answered: list[float]
    statuses: list[int]
    bodies: list[bytes]
    finished: asyncio.Future[None]
    left: int
    next: int = 0
    idle: deque[_Connection] = field(default_factory=deque[_Connection])
    """Used in turn, so that none is idle for as long as a server would keep it."""
    due: deque[int] = field(default_factory=deque[int])

    def go_on(self, connection: _Connection) -> None:
        """Give the connection its next request, or end the job."""
        self.left -= 1
        if not self.left:
            self.finished.set_result(None)
        elif self.scheduled is not None:
            if self.due:
                connection.ask(self.due.popleft())
            else:
                self.idle.append(connection)
        elif self.next < len(self.wire):
            self.start(connection)

    def start(self, connection: _Connection) -> None:
        """Closed loop: send the next request."""
        self.next += 1
        connection.ask(self.next - 1)

    def fall_due(self) -> None:
        """Open loop: send what is due; without an idle connection it waits for one."""
        assert self.scheduled
        now = time.monotonic()
        while self.next < len(self.wire) and self.scheduled[self.next] <= now:
            if self.idle:
                self.idle.popleft().ask(self.next)
            else:
                self.due.append(self.next)
            self.next += 1


async def _run(job: Job) -> Answered:
    count = len(job.requests)
    loop = asyncio.get_running_loop()
    load = _Load(
        wire=[_to_bytes(job, path, body) for path, body in job.requests],
        scheduled=None,
        sent=[0.0] * count,
        answered=[0.0] * count,
        statuses=[0] * count,
        bodies=[b""] * count,
        finished=loop.create_future(),
        left=count,
    )
    connections: list[_Connection] = []
    for _ in range(min(job.connections, count)):
        _, made = await loop.create_connection(lambda: _Connection(load), "127.0.0.1", job.port)
        connections.append(made)
    before = time.process_time()
    if job.offsets is None:
        for each in connections:
            load.start(each)
    else:
        load.idle.extend(connections)
        start = time.monotonic() + LEAD_SECONDS
        load.scheduled = [start + offset for offset in job.offsets]
        timer = asyncio.create_task(_keep_time(load, load.scheduled))
        load.finished.add_done_callback(lambda _: timer.cancel())
    await asyncio.wait_for(load.finished, ANSWER_SECONDS + (job.offsets or [0.0])[-1])
    cpu = time.process_time() - before
    return Answered(
        scheduled=load.scheduled or load.sent,
        sent=load.sent,
        answered=load.answered,
        statuses=load.statuses,
        command_ids=[_command_ids(body) for body in load.bodies],
        cpu_seconds=cpu,
    )


async def _keep_time(load: _Load, scheduled: Sequence[float]) -> None:
    """Wake up for each request. The loop's timers have a resolution of a millisecond."""
    while load.next < len(scheduled):
        await asyncio.sleep(max(0.0, scheduled[load.next] - time.monotonic()))
        load.fall_due()


def _to_bytes(job: Job, path: str, body: str) -> bytes:
    content = body.encode()
    head = (
        f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1:{job.port}\r\nAuthorization: Bearer {job.key}\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(content)}\r\n\r\n"
    )
    return head.encode() + content


def _command_ids(body: bytes) -> list[str]:
    """The commands that an answer names: an object with an `id`, or with a list of those."""
    try:
        answer = json.loads(body)
    except ValueError:
        return []
    found: Iterable[dict[str, Any]] = answer.get("commands", [answer])
    return [str(each["id"]) for each in found if "id" in each]


def main() -> int:
    """Read a job, run it, write its result."""
    raw = json.load(sys.stdin)
    job = Job(**raw | {"requests": [(path, body) for path, body in raw["requests"]]})
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        result = runner.run(_run(job))
    json.dump(asdict(result), sys.stdout)
    return 0


if __name__ == "__main__":
    os.environ.setdefault("PYTHONWARNINGS", "ignore")
    sys.exit(main())
