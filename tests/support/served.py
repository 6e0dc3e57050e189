"""The API on a real socket, in a thread of this process: for what a test client cannot do."""

import threading
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import uvicorn
from fastapi import FastAPI
from redis import Redis
from sqlalchemy import Engine

from tests.support.api import borrow_app
from tests.support.free_port import free_port
from tests.support.pipeline import BASE_URL
from tests.support.waiting import wait_until
from worker.api.admission import Admission
from worker.api.streaming.tail import Tail
from worker.runtime.redis_clients import open_redis
from worker.runtime.runtime import Runtime
from worker.runtime.settings import Settings
from worker.runtime.wake_ups import Waker


@dataclass(frozen=True)
class Served:
    """The API as it runs."""

    url: str
    tail: Tail
    admission: Admission

    @property
    def stream(self) -> str:
        """Where events are streamed."""
        return f"{self.url}/api/v1/events/stream"

    @property
    def live_readers(self) -> int:
        """How many have caught up and follow."""
        return self.tail.live_readers


@contextmanager
def served(
    engine: Engine, redis_url: str, port: int | None = None, **more: Any
) -> Generator[Served]:
    """Serve until the block ends; `more` are settings."""
    chosen: dict[str, Any] = {"public_base_url": BASE_URL, **more}
    settings = Settings(database_url=str(engine.url), redis_url=redis_url, **chosen)
    waker = Waker(redis=Redis.from_url(redis_url), send=lambda _: None)
    own = Runtime(settings=settings, engine=engine, redis=open_redis(redis_url), waker=waker)
    port = port or free_port()
    with borrow_app(own) as app:
        yield from _serve(app, port)


def _serve(app: FastAPI, port: int) -> Generator[Served]:
    config = uvicorn.Config(app, port=port, log_config=None, access_log=False)
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        wait_until(lambda: server.started, "the API to listen")
        yield Served(f"http://127.0.0.1:{port}", app.state.tail, app.state.admission)
    finally:
        # In a thread there are no signals; what one would do first, is done here.
        server.servers[0].get_loop().call_soon_threadsafe(app.state.tail.stop)
        server.should_exit = True
        thread.join()
