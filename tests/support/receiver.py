"""A receiver of webhooks: a real HTTP server that answers well, badly, endlessly or never."""

import asyncio
import json
import ssl
import threading
from collections.abc import AsyncGenerator, Awaitable, Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

from psycopg import sql

from db.session import transaction
from db.webhooks.fan_out import lock_last_position
from tests.support.pipeline import Pipeline
from worker.webhooks.signing import new_secret

Answer = Callable[["Received", asyncio.StreamWriter], Awaitable[None]]


@dataclass(frozen=True, kw_only=True)
class Received:
    """One request as it came."""

    path: str
    headers: dict[str, str]
    body: bytes

    @property
    def id(self) -> str:
        return self.headers["webhook-id"]

    @property
    def event(self) -> dict[str, Any]:
        return json.loads(self.body)


def says(status: int, body: bytes = b"", **headers: str) -> Answer:
    """Answer with a status."""

    async def answer(_: Received, writer: asyncio.StreamWriter) -> None:
        lines = [f"HTTP/1.1 {status} Whatever", f"content-length: {len(body)}"]
        lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
        writer.write("\r\n".join(lines).encode() + b"\r\n\r\n" + body)

    return answer


def sends(*parts: bytes) -> Answer:
    """Send these bytes, which need not be HTTP, and close the connection."""

    async def answer(_: Received, writer: asyncio.StreamWriter) -> None:
        for part in parts:
            writer.write(part)
            await writer.drain()
        writer.close()

    return answer


async def echoes(request: Received, writer: asyncio.StreamWriter) -> None:
    """Answer with the headers of the request."""
    body = json.dumps({"headers": request.headers}).encode()
    await says(500, body)(request, writer)


async def echoes_in_status(request: Received, writer: asyncio.StreamWriter) -> None:
    """Answer with the signatures in a status line that is not valid."""
    writer.write(f"HTTP/1.1 {request.headers['webhook-signature']}\r\n\r\n".encode())
    writer.close()


def says_more(more: bytes, *, first: bytes = b"HTTP/1.1 204 Done\r\n\r\n") -> Answer:
    """Answer the first request with `first` and `more` after it, the others with 204."""
    asked = 0

    async def answer(request: Received, writer: asyncio.StreamWriter) -> None:
        nonlocal asked
        asked += 1
        if asked > 1:
            return await says(204)(request, writer)
        writer.write(first)  # with TLS, a record of its own
        writer.write(more)
        return None

    return answer


async def continues(_: Received, writer: asyncio.StreamWriter) -> None:
    """Send one interim answer after the other."""
    while not writer.is_closing():
        writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        await writer.drain()


async def hints(_: Received, writer: asyncio.StreamWriter) -> None:
    """Send interim answers as large as headers may be, then the final one."""
    for _nth in range(3):
        writer.write(b"HTTP/1.1 103 Early Hints\r\nlink: " + b"x" * 16_000 + b"\r\n\r\n")
    writer.write(b"HTTP/1.1 204 Done\r\n\r\n")


async def drips(_: Received, writer: asyncio.StreamWriter) -> None:
    """Send one byte of the status line, and then nothing."""
    writer.write(b"H")
    await writer.wait_closed()


async def drops(_: Received, writer: asyncio.StreamWriter) -> None:
    """Close the connection without a word."""
    writer.close()


async def hangs(_: Received, writer: asyncio.StreamWriter) -> None:
    """Never answer."""
    await writer.wait_closed()


async def never_ends(_: Received, writer: asyncio.StreamWriter) -> None:
    """Answer with a body that has no end."""
    writer.write(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n")
    while not writer.is_closing():
        writer.write(b"400\r\n" + b"x" * 0x400 + b"\r\n")
        await writer.drain()


async def trickles(_: Received, writer: asyncio.StreamWriter) -> None:
    """Answer, and then leave the body open."""
    writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\nso far")
    await writer.wait_closed()


async def headers_without_end(_: Received, writer: asyncio.StreamWriter) -> None:
    """Send header after header."""
    writer.write(b"HTTP/1.1 200 OK\r\n")
    while not writer.is_closing():
        writer.write(b"x-more: " + b"x" * 1000 + b"\r\n")
        await writer.drain()


async def talks_nonsense(_: Received, writer: asyncio.StreamWriter) -> None:
    """Answer in no HTTP."""
    writer.write(b"220 mail.example ESMTP\r\n\r\n")
    writer.close()


@dataclass
class Receiver:
    """What has come in, and what each path answers: 204 unless told otherwise."""

    port: int = 0
    received: list[Received] = field(default_factory=list[Received])
    answers: dict[str, Answer] = field(default_factory=dict[str, Answer])
    connections: int = 0
    serving: set[asyncio.Task[None] | None] = field(default_factory=set[asyncio.Task[None] | None])
    """The event loop alone would forget one whose client is gone before it was answered."""

    def url(self, path: str = "/", host: str = "127.0.0.1") -> str:
        """Where a path is."""
        return f"http://{host}:{self.port}{path}"

    def at(self, path: str) -> list[Received]:
        """The requests to a path, in order."""
        return [request for request in list(self.received) if request.path == path]

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer the requests of one connection."""
        self.connections += 1
        self.serving.add(asyncio.current_task())
        try:
            async for request in _requests(reader):
                self.received.append(request)
                await self.answers.get(request.path, says(204))(request, writer)
                if writer.is_closing():
                    return
        except (ConnectionError, asyncio.CancelledError):
            writer.transport.abort()
        finally:
            writer.close()
            self.serving.discard(asyncio.current_task())


async def _requests(reader: asyncio.StreamReader) -> AsyncGenerator[Received]:
    while True:
        try:
            head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        except asyncio.IncompleteReadError:
            return
        first, *lines = head.split("\r\n")[:-2]
        headers = {
            name.lower(): value.strip() for name, value in (line.split(":", 1) for line in lines)
        }
        body = await reader.readexactly(int(headers.get("content-length", "0")))
        yield Received(path=first.split(" ")[1], headers=headers, body=body)


CERTIFICATE = Path(__file__).parent / "tls" / "hooks.test.pem"


def tls() -> ssl.SSLContext:
    """What a receiver called hooks.test speaks."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(CERTIFICATE)
    return context


@contextmanager
def receiver(context: ssl.SSLContext | None = None) -> Generator[Receiver]:
    """Receive on a free port, in a thread of its own."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    made = Receiver()

    async def start() -> asyncio.Server:
        return await asyncio.start_server(made.serve, "127.0.0.1", 0, ssl=context)

    async def stop() -> None:
        server.close()
        rest = asyncio.all_tasks() - {asyncio.current_task()}
        for task in rest:
            task.cancel()
        await asyncio.gather(*rest, return_exceptions=True)
        await asyncio.sleep(0.01)  # for the connections to be let go

    server = asyncio.run_coroutine_threadsafe(start(), loop).result()
    made.port = server.sockets[0].getsockname()[1]
    try:
        yield made
    finally:
        asyncio.run_coroutine_threadsafe(stop(), loop).result()
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


def endpoint(pipeline: Pipeline, url: str, **columns: Any) -> UUID:
    """Register an endpoint of workspace 1 that receives every later event."""
    made = uuid4()
    row = {"id": made, "workspace_id": 1, "url": url, "secret": new_secret(), **columns}
    with transaction(pipeline.engine) as tx:
        row.setdefault("after_position", lock_last_position(tx))
        statement = sql.SQL("INSERT INTO publisher.webhook_endpoint ({}) VALUES ({})").format(
            sql.SQL(", ").join(map(sql.Identifier, row)),
            sql.SQL(", ").join(sql.Placeholder() * len(row)),
        )
        tx.execute(statement, list(row.values()))
    return made


def record_many(pipeline: Pipeline, count: int) -> None:
    """Record `count` events of workspace 1, from position 1 on."""
    pipeline.execute(
        "INSERT INTO publisher.outbox_event"
        " (position, id, type, video_id, workspace_id, occurred_at, correlation_id, data)"
        " SELECT n, gen_random_uuid(), 'video.published', n, 1, now(), 'c-1', '{}'"
        " FROM generate_series(1, %s) n",
        count,
    )
