"""A real run for clients in other languages: an API process, a Celery worker, and a control server.

A test in another language asks the control server for what it cannot do: kill the API, record
events, delete old ones.
"""

import json
import signal
import threading
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

from redis import Redis

from db.session import connect
from schemas.values.caller import Scope
from tests.support.api_process import ApiProcess
from tests.support.free_port import free_port
from tests.support.pipeline import BASE_URL, Pipeline
from tests.support.platform import set_up
from tests.support.processes import Celeries
from worker.events.redis_stream import relay
from worker.operations.api_keys import create_key


@dataclass(frozen=True)
class ClientRun:
    """What runs, and how to reach it."""

    api: ApiProcess
    pipeline: Pipeline
    control_url: str
    page_port: int
    """A page of this port's origin may call the API."""

    @property
    def environment(self) -> dict[str, str]:
        """The addresses and keys, for a program in another language."""
        keys = {
            f"{scope.upper()}_KEY": create_key(
                self.pipeline.engine, name=scope, scope=scope, workspace_id=1
            )
            for scope in (Scope.PUBLISH, Scope.ADMIN, Scope.EVENTS)
        }
        return {"API_URL": self.api.url, "CONTROL_URL": self.control_url, **keys}

    def record(self, count: int) -> list[int]:
        """Publish new videos without the API; return their ids."""
        videos = [self.pipeline.video() for _ in range(count)]
        self.pipeline.publish(*videos)
        self.pipeline.waker.note_arrival()  # its wake-ups reach no worker
        relay(self.pipeline.engine, self.pipeline.redis, BASE_URL)
        return videos


@contextmanager
def client_run(folder: Path, database_url: str, redis_url: str) -> Generator[ClientRun]:
    """Start everything, for several tests."""
    page_port = free_port()
    settings = {
        "PUBLIC_BASE_URL": BASE_URL,
        "WEBHOOKS_ALLOW_PRIVATE": "true",
        "CORS_ORIGINS": f"http://127.0.0.1:{page_port}",
    }
    engine = connect(database_url)
    set_up(engine)
    celeries = Celeries(folder, DATABASE_URL=database_url, REDIS_URL=redis_url, **settings)
    worker = celeries.start("worker", "--concurrency=1")
    api = ApiProcess(folder / "api.log", database_url, redis_url, **settings)
    with Redis.from_url(redis_url) as redis, _Control() as control:
        pipeline = Pipeline(engine=engine, redis=redis)
        for _ in range(8):  # quick starts publish the videos 7 and 8
            pipeline.video()
        run = ClientRun(api, pipeline, f"http://127.0.0.1:{control.server_port}", page_port)
        control.actions = _list_actions(run)
        threading.Thread(target=control.serve_forever, daemon=True).start()
        worker.wait_for("ready.")
        celeries.beat()
        try:
            yield run
        finally:
            control.shutdown()
            api.end(signal.SIGKILL)
            celeries.end()
            engine.dispose()


Action = Callable[[dict[str, int]], Any]


def _list_actions(run: ClientRun) -> dict[str, Action]:
    pipeline = run.pipeline

    def forget(asked: dict[str, int]) -> None:
        pipeline.execute("DELETE FROM publisher.outbox_event WHERE position <= %s", asked["until"])

    def fail(asked: dict[str, int]) -> None:
        pipeline.execute(
            "UPDATE publisher.publish_command SET state = 'failed', finished_at = now()"
            " WHERE video_id = %s",
            asked["video"],
        )

    return {
        "/kill": lambda _: run.api.end(signal.SIGKILL),
        "/start": lambda _: run.api.start(),
        "/videos": lambda asked: [
            pipeline.video(status="completed" if asked["ready"] else "in_progress")
            for _ in range(asked["count"])
        ],
        "/record": lambda asked: run.record(asked["count"]),
        "/last": lambda _: pipeline.value("SELECT max(position) FROM publisher.outbox_event"),
        "/forget": forget,
        "/fail": fail,
    }


class _Control(ThreadingHTTPServer):
    daemon_threads = True
    actions: dict[str, Action]

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Order)


class _Order(BaseHTTPRequestHandler):
    server: _Control  # pyright: ignore[reportIncompatibleVariableOverride]

    def do_POST(self) -> None:
        address = urlsplit(self.path)
        asked = {name: int(values[0]) for name, values in parse_qs(address.query).items()}
        body = json.dumps(self.server.actions[address.path](asked)).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None: ...  # pyright: ignore[reportIncompatibleMethodOverride]
